// Guarded: the border that no exception crosses. C has no frames for one to unwind.
#pragma once

#include <cerrno>
#include <exception>
#include <new>

#include "lib/c/last_error.h"

namespace linchpin::c {

// Returns: what `call` returns; a negative errno, and its sentence, for what it throws.
template <typename Call>
int Guarded(const Call& call) noexcept {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return Fail(ENOMEM, "out of memory");
  } catch (const std::exception& thrown) {
    return Fail(EIO, thrown.what());
  } catch (...) {
    return Fail(EIO, "an exception of an unknown type was thrown");
  }
}

}  // namespace linchpin::c
