// DirtyRanges: what a device has written to, as ranges of addresses; few, so that it stays small
// whatever is marked.
//
// Thread-safety: none of its own.
#pragma once

#include <cstddef>
#include <vector>

#include "linchpin/range.h"

namespace linchpin::internal {

// Invariant: the ranges are in ascending order, not empty, and neither overlap nor touch. Past
// kRangesMax of them, the two with the smallest gap between them become one: what is written to a
// file twice does no harm.
class DirtyRanges final {
 public:
  static constexpr std::size_t kRangesMax = 64;

  DirtyRanges() { ranges_.reserve(kRangesMax + 1); }

  // An empty range adds nothing. Neither allocates nor frees, nor does MergeInto.
  void Add(Range added);
  void MergeInto(DirtyRanges& other) const;
  void Clear() { ranges_.clear(); }

  const std::vector<Range>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }

 private:
  std::vector<Range> ranges_;
};

}  // namespace linchpin::internal
