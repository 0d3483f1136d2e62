#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace linchpin {

// A half-open range [start, end) of virtual addresses, in bytes.
struct Range {
  std::uintptr_t start = 0;
  std::uintptr_t end = 0;

  constexpr std::size_t size() const { return end - start; }
  constexpr bool empty() const { return start >= end; }
  constexpr bool Contains(const Range& other) const {
    return start <= other.start && other.end <= end;
  }
  constexpr bool Overlaps(const Range& other) const {
    return start < other.end && other.start < end;
  }
  constexpr bool operator==(const Range&) const = default;

  // "[0x7f0000001000, 0x7f0000002000) 4096 bytes": how every message names a range.
  std::string ToString() const;

  // Returns: the range of `length` bytes at `address`; InvalidArgument, with what to do about it,
  // for a null address, a length of 0, or a range that wraps around the end of the address space.
  static absl::StatusOr<Range> Of(const void* address, std::size_t length);
};

}  // namespace linchpin
