// What happens when a mapping changes. The monitor's reader runs this: states flip and hooks move,
// nothing is allocated, nothing waits, nothing can fail.
#include <algorithm>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {

void CacheCore::Invalidate(const Range& range) {
  if (Inherited()) return;
  monitor_->Forget(range);
  OnChanged(range);
}

void CacheCore::OnChanged(Range range) {
  const NoAllocationLock lock(mutex_);
  index_.ForEachOverlapping(range, [&](Region& region) {
    mutex_.AssertHeld();
    ChangedLocked(region, range);
  });
}

void CacheCore::ChangedLocked(Region& region, const Range& range) {
  region.changed = region.changed.empty() ? range
                                          : Range{std::min(region.changed.start, range.start),
                                                  std::max(region.changed.end, range.end)};
  switch (region.state) {
    case RegionState::kRegistering:
    case RegionState::kCollided:
      region.Apply(RegionEvent::kMappingChanged);
      return;
    case RegionState::kLive:
      ++stats_.invalidations;
      RetireLocked(region);
      return;
    default:  // Stale already; the dead are in no index.
      return;
  }
}

void CacheCore::RetireLocked(Region& region) {
  if (region.list.is_linked()) clock_.erase(clock_.iterator_to(region));
  region.set.unlink();
  if (region.holders > 0) {
    region.Apply(RegionEvent::kRetireHeld);
    index_.aside().Insert(region);
    ++stats_.stale_regions;
  } else {
    region.Apply(RegionEvent::kRetireIdle);
    stats_.idle_bytes -= region.range.size();
    BuryLocked(region);
  }
}

// Requires: `region` is Dead, and no longer counted as held or idle.
void CacheCore::BuryLocked(Region& region) {
  region.set.unlink();
  region.died = Clock::now();
  region.burial = ++burials_;
  stats_.deferred_bytes += region.range.size();
  graves_.push_back(region);
  work_.NotifyOne();
}

LeaseState CacheCore::StateOf(const Region& region, const Range& range) const {
  if (Inherited()) return LeaseState::kStale;  // The child has the copy, the device the original.
  monitor_->Settle();
  const NoAllocationLock lock(mutex_);
  return region.changed.Overlaps(range) ? LeaseState::kStale : LeaseState::kValid;
}

// Whether nothing that was registered in `range` before it changed is still registered.
bool CacheCore::GoneLocked(const Range& range) {
  bool gone = true;
  index_.aside().ForEachOverlapping(range, [&](const Region& region) {
    if (region.state == RegionState::kStale) gone = false;
  });
  index_.pending().ForEachOverlapping(range, [&](const Region& region) {
    if (region.state == RegionState::kCollided) gone = false;
  });
  for (const RegionList* list : {&graves_, &reaping_}) {
    for (const Region& region : *list) gone = gone && !region.range.Overlaps(range);
  }
  return gone;
}

}  // namespace linchpin::internal
