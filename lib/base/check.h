// LINCHPIN_CHECK: an invariant whose breach is our bug, never the user's. Aborts with the place.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace linchpin {

[[noreturn]] inline void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace linchpin

#define LINCHPIN_CHECK(condition)                      \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::linchpin::CheckFailed(__FILE__, __LINE__, #condition))
