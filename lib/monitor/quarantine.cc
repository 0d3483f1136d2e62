#include "lib/monitor/quarantine.h"

#include <algorithm>
#include <span>

namespace linchpin {

void Quarantine::Expire(Clock::time_point now) {
  const auto end = std::remove_if(entries_.begin(), entries_.begin() + count_,
                                  [now](const Entry& entry) { return entry.until <= now; });
  count_ = static_cast<std::size_t>(end - entries_.begin());
}

void Quarantine::Add(Range range, Clock::time_point now) {
  Expire(now);
  for (Entry& entry : std::span(entries_).first(count_)) {
    if (!entry.range.Contains(range)) continue;
    entry.until = std::max(entry.until, now + kLasts);
    return;
  }
  if (count_ < kCapacity) {
    entries_[count_++] = {range, now + kLasts};
    return;
  }
  const auto hull = [&range](const Entry& entry) {
    return Range{std::min(range.start, entry.range.start), std::max(range.end, entry.range.end)};
  };
  Entry& closest =
      *std::min_element(entries_.begin(), entries_.end(), [&hull](const Entry& a, const Entry& b) {
        return hull(a).size() - a.range.size() < hull(b).size() - b.range.size();
      });
  closest = {hull(closest), now + kLasts};
}

bool Quarantine::Overlaps(Range range, Clock::time_point now) const {
  return std::any_of(entries_.begin(), entries_.begin() + count_, [&](const Entry& entry) {
    return entry.until > now && entry.range.Overlaps(range);
  });
}

}  // namespace linchpin
