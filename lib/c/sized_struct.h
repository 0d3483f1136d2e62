// Structs that begin with struct_size, and may be older or newer than the library.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>
#include <type_traits>

#include "lib/c/last_error.h"

namespace linchpin::c {

inline constexpr std::size_t kStructBytesMax = 4096;  // No struct of ours will ever be larger.

// Returns: 0 when `size` may be that of some version of `Struct`; otherwise a negative errno.
template <typename Struct>
int CheckSize(std::size_t size, const char* name) {
  // Every version's size is a multiple of the alignment; what is not would cut a field in two.
  if (size < sizeof(std::size_t) || size % alignof(Struct) != 0) {
    return Fail(EINVAL, std::string(name) + ".struct_size is " + std::to_string(size) +
                            "; set it to the size of the struct");
  }
  if (size > kStructBytesMax) {
    return Fail(E2BIG, std::string(name) + ".struct_size is " + std::to_string(size) +
                           ", more than any version's; set it to the size of the struct");
  }
  return 0;
}

// Copies what the caller's struct has into `known`, which keeps the defaults it has for the rest.
// Returns: 0, or a negative errno when the caller's is newer and its unknown part is not all zero.
template <typename Struct>
int CopyIn(const Struct* given, const char* name, Struct& known) {
  static_assert(std::is_trivially_copyable_v<Struct>);
  const std::size_t size = given->struct_size;
  if (const int error = CheckSize<Struct>(size, name); error != 0) return error;
  const char* const bytes = reinterpret_cast<const char*>(given);
  if (size > sizeof(Struct) &&
      !std::all_of(bytes + sizeof(Struct), bytes + size, [](char byte) { return byte == 0; })) {
    return Fail(E2BIG, std::string(name) +
                           " sets a field that this version of the library does not know; set it "
                           "to 0, or use a newer liblinchpin");
  }
  std::memcpy(&known, bytes, std::min(size, sizeof(Struct)));
  known.struct_size = sizeof(Struct);
  return 0;
}

// Copies as much of `known` as the caller's struct has room for, and zeroes what it has beyond.
template <typename Struct>
int CopyOut(const Struct& known, const char* name, Struct* out) {
  static_assert(std::is_trivially_copyable_v<Struct>);
  const std::size_t size = out->struct_size;
  if (const int error = CheckSize<Struct>(size, name); error != 0) return error;
  char* const bytes = reinterpret_cast<char*>(out);
  std::memcpy(bytes, &known, std::min(size, sizeof(Struct)));
  if (size > sizeof(Struct)) std::memset(bytes + sizeof(Struct), 0, size - sizeof(Struct));
  out->struct_size = size;
  return 0;
}

}  // namespace linchpin::c
