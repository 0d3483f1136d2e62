// The size of an ordinary page: what every part of the library counts memory in.
#pragma once

#include <unistd.h>

#include <cstddef>

namespace linchpin {

// In bytes.
inline std::size_t BasePageSize() {
  static const auto bytes = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace linchpin
