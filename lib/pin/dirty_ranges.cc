#include "lib/pin/dirty_ranges.h"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace linchpin::internal {

void DirtyRanges::Add(Range added) {
  if (added.empty()) return;
  const auto first = std::find_if(ranges_.begin(), ranges_.end(), [&added](const Range& range) {
    return range.end >= added.start;
  });
  auto past = first;
  for (; past != ranges_.end() && past->start <= added.end; ++past) {
    added = {std::min(added.start, past->start), std::max(added.end, past->end)};
  }
  ranges_.insert(ranges_.erase(first, past), added);
  if (ranges_.size() <= kRangesMax) return;
  std::size_t left = 0;
  std::uintptr_t smallest = std::numeric_limits<std::uintptr_t>::max();
  for (std::size_t i = 0; i + 1 < ranges_.size(); ++i) {
    const std::uintptr_t gap = ranges_[i + 1].start - ranges_[i].end;
    if (gap < smallest) {
      smallest = gap;
      left = i;
    }
  }
  ranges_[left].end = ranges_[left + 1].end;
  ranges_.erase(ranges_.begin() + static_cast<std::ptrdiff_t>(left) + 1);
}

void DirtyRanges::MergeInto(DirtyRanges& other) const {
  for (const Range& range : ranges_) other.Add(range);
}

}  // namespace linchpin::internal
