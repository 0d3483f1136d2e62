#include "lib/monitor/armed_hull.h"

#include <algorithm>

namespace linchpin {

void ArmedHull::Add(Range range) {
  const auto begin = ranges_.begin();
  const auto end = begin + static_cast<std::ptrdiff_t>(count_);
  // [first, last): what `range` overlaps or touches, and so swallows.
  const auto first = std::lower_bound(
      begin, end, range, [](const Range& a, const Range& b) { return a.end < b.start; });
  auto last = first;
  while (last != end && last->start <= range.end) ++last;
  if (last - first == 1 && first->Contains(range)) return;
  ++version_;
  if (first == last) {
    std::move_backward(first, end, end + 1);
    *first = range;
    ++count_;
  } else {
    *first = {std::min(first->start, range.start), std::max((last - 1)->end, range.end)};
    std::move(last, end, first + 1);
    count_ -= static_cast<std::size_t>(last - first) - 1;
  }
  if (count_ > kCapacity) MergeClosest();
}

void ArmedHull::MergeClosest() {
  std::size_t closest = 0;
  const auto gap = [this](std::size_t i) { return ranges_[i + 1].start - ranges_[i].end; };
  for (std::size_t i = 1; i + 1 < count_; ++i) {
    if (gap(i) < gap(closest)) closest = i;
  }
  ranges_[closest].end = ranges_[closest + 1].end;
  const auto begin = ranges_.begin() + static_cast<std::ptrdiff_t>(closest);
  std::move(begin + 2, ranges_.begin() + static_cast<std::ptrdiff_t>(count_), begin + 1);
  --count_;
}

}  // namespace linchpin
