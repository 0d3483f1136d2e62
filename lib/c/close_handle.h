// Closing a handle that caches count themselves on.
#pragma once

#include <cerrno>
#include <string>

#include "lib/c/guarded.h"

namespace linchpin::c {

// Returns: 0, and `handle` is gone; -EINVAL for null; -EBUSY while a cache uses it.
template <typename Handle>
int CloseHandle(Handle* handle, const char* name) {
  return Guarded([&] {
    if (handle == nullptr) return Fail(EINVAL, std::string(name) + " is NULL");
    // Acquire: pairs with the close of the last cache, whose use of the handle is then over.
    const std::uint64_t users = handle->users.load(std::memory_order_acquire);
    if (users != 0) {
      return Fail(EBUSY, std::string("the ") + name + " is used by " + std::to_string(users) +
                             " caches; close them first");
    }
    delete handle;
    return 0;
  });
}

}  // namespace linchpin::c
