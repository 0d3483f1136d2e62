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
  ChangedInLocked(range);
}

void CacheCore::ChangedInLocked(const Range& range) {
  told_.fetch_add(1, std::memory_order_relaxed);
  index_.ForEachOverlapping(range, [&](Region& region) {
    mutex_.AssertHeld();
    ChangedLocked(region, range);
  });
}

void CacheCore::ChangedLocked(Region& region, const Range& range) {
  switch (region.state) {
    case RegionState::kRegistering:
    case RegionState::kCollided:
      region.Apply(RegionEvent::kMappingChanged);
      return;
    case RegionState::kLive:
      if (region.retiring) break;
      ++stats_.invalidations;
      RetireLocked(region);
      break;
    default:  // Stale already, or dead since just now.
      break;
  }
  Range& changed = region.asked_or_changed;
  changed = changed.empty()
                ? range
                : Range{std::min(changed.start, range.start), std::max(changed.end, range.end)};
}

// What is kept may fit again, and the reaper be asleep, which ends the exact counting then.
void CacheCore::UnkeepLocked(const Region& region) {
  if (!region.use.kept) return;
  kept_bytes_ -= region.range.size();
  if (pressure_ && kept_bytes_ <= max_idle_bytes_) CallReaperLocked(1);
}

void CacheCore::RetireLocked(Region& region) {
  region.asked_or_changed = {};
  if (region.use.kept) clock_.erase(clock_.iterator_to(region));
  UnkeepLocked(region);
  region.set.unlink();
  std::atomic<std::uint32_t>& shown = hits_.slab().record(region.id).state;
  if (region.use.fast && !exact_) {  // Somebody may just be hitting it: limbo.cc.
    shown.store(0, std::memory_order_release);
    region.retiring = true;
    AccountLocked(region, Account::kDeferred);
    index_.aside().Insert(region);
    limbo_.push_back(region);
    if (limbo_.size() == 1) limbo_due_ = Clock::now() + kLimboTime;
    CallReaperLocked(limbo_.size());
    return;
  }
  // Idle is what somebody has just found without a lease. Not to be asked again: of an exact region
  // a hit that came late, by an old hint, may be counted until it has taken that back.
  const bool held = region.account != Account::kIdle && LeasesOnLocked(region) != 0;
  if (region.use.fast) shown.store(held ? record_state::kDoomed : 0, std::memory_order_release);
  if (held) {
    region.Apply(RegionEvent::kRetireHeld);
    index_.aside().Insert(region);
    CountStaleLocked(region);
  } else {
    region.Apply(RegionEvent::kRetireIdle);
    BuryLocked(region);
  }
}

// Requires: `region` is Dead or Revoked.
void CacheCore::BuryLocked(Region& region, Clock::time_point now) {
  region.set.unlink();
  region.Died(now);
  // What is revoked is held: who lets go of it tells. In one step: it may just be let go of.
  const bool held = region.state == RegionState::kRevoked;
  hits_.slab().record(region.id).state.store(held ? record_state::kDoomed : 0,
                                             std::memory_order_relaxed);
  AccountLocked(region, Account::kDeferred);
  graves_.push_back(region);
  CallReaperLocked(graves_.size());
}

LeaseState CacheCore::StateOf(RegionId id, const Range& range) const {
  if (Inherited()) return LeaseState::kStale;  // The child has the copy, the device the original.
  monitor_->Settle();
  const NoAllocationLock lock(mutex_);
  const Region* region = &hits_.slab().held(id);
  if (region->revoked) return LeaseState::kRevoked;
  if (region->use.claim) region = &hits_.slab().held(BaseOf(*region));
  const bool out = region->retiring || region->state != RegionState::kLive;
  return out && region->asked_or_changed.Overlaps(range) ? LeaseState::kStale : LeaseState::kValid;
}

// Whether nothing that was registered in `range` before it changed is still registered.
bool CacheCore::GoneLocked(const Range& range) {
  bool gone = true;
  index_.aside().ForEachOverlapping(range, [&](const Region& region) {
    if (region.state == RegionState::kStale || region.retiring) gone = false;
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
