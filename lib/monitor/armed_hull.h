// ArmedHull: where anything can be that the monitor has armed. A superset in bounded space, without
// allocation, because the reader adds to it: the kernel keeps a mapping armed that mremap moves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "linchpin/range.h"

namespace linchpin {

class ArmedHull final {
 public:
  // Adds `range`. When there is no room, the two ranges with the least between them become one.
  void Add(Range range);

  // Ascending, disjoint, not touching each other.
  [[nodiscard]] std::span<const Range> ranges() const { return std::span(ranges_).first(count_); }
  // Moves whenever ranges() does.
  [[nodiscard]] std::uint64_t version() const { return version_; }

  static constexpr std::size_t kCapacity = 256;

 private:
  void MergeClosest();

  // One more than the capacity, for the moment between adding and merging.
  std::array<Range, kCapacity + 1> ranges_{};
  std::size_t count_ = 0;
  std::uint64_t version_ = 0;
};

}  // namespace linchpin
