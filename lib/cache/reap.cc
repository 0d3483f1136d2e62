// Deregistration. The reaper's thread does it, or one that must wait for it anyway; never one that
// hits or releases, and never with the mutex held.
#include <algorithm>
#include <bitset>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {

// Moves the oldest graves in `range` to reaping_: so many as were last deregistered in kReapTime,
// and together no more than kReapBytes, or one. For whoever waits for one of them waits for all.
// Returns: how many; they are in `taken`.
std::size_t CacheCore::TakeDeadLocked(const Range& range, ReapBatch& taken) {
  std::size_t count = 0;
  std::uint64_t bytes = 0;
  Clock::time_point now;
  for (auto at = graves_.begin(); at != graves_.end() && count < reap_batch_;) {
    Region& dead = *at++;
    if (!dead.range.Overlaps(range)) continue;
    bytes += dead.range.size();
    if (count > 0 && bytes > kReapBytes) break;
    if (count == 0) now = Clock::now();
    graves_.erase(graves_.iterator_to(dead));
    reaping_.push_back(dead);
    taken[count++] = &dead;
    const auto lag = std::chrono::duration_cast<std::chrono::microseconds>(now - dead.died);
    stats_.reap_lag_us_max =
        std::max(stats_.reap_lag_us_max, static_cast<std::uint64_t>(lag.count()));
  }
  return count;
}

bool CacheCore::Reap(const Range& range) {
  ReapBatch taken;
  std::size_t count = 0;
  {
    const NoAllocationLock lock(mutex_);
    count = TakeDeadLocked(range, taken);
  }
  if (count == 0) return false;
  const Clock::time_point begun = Clock::now();
  std::bitset<kReapBatch> reaped;
  for (std::size_t i = 0; i < count; ++i) {
    Registration registration = RegistrationOf(*taken[i]);
    taken[i]->other_keys = nullptr;  // With no lock held. Nobody has a lease that would ask for it.
    reaped[i] = registrar_->Deregister(registration).ok();
  }
  const auto each = (Clock::now() - begun) / count;
  {
    const NoAllocationLock lock(mutex_);
    for (std::size_t i = 0; i < count; ++i) EndReapingLocked(*taken[i], reaped[i]);
    reap_batch_ =
        std::clamp<std::size_t>(kReapTime / (each + std::chrono::nanoseconds(1)), 1, kReapBatch);
    changed_.NotifyAll();
    if (ending_) work_.NotifyOne();
  }
  return true;
}

void CacheCore::EndReapingLocked(Region& region, bool reaped) {
  reaping_.erase(reaping_.iterator_to(region));
  --stats_.regions;
  stats_.bytes -= region.range.size();
  AccountLocked(region, Account::kNone);
  if (reaped) {
    ++stats_.deregistrations;
    hits_.slab().Leave(region);
  } else {
    region.Apply(RegionEvent::kDeregisterFailed);
    leaked_.push_back(region);
    ++stats_.leaked;
  }
}

// What the registrar returned for the region.
Registration CacheCore::RegistrationOf(const Region& region) const {
  Registration registration;
  registration.range = region.range;
  registration.access = region.access;
  registration.handle = region.handle;
  registration.keys.push_back(KeysOf(region.id, 0));
  if (region.other_keys != nullptr) {
    registration.keys.insert(registration.keys.end(), region.other_keys->begin(),
                             region.other_keys->end());
  }
  return registration;
}

// Deregisters all that are dead now, and waits until `deadline` for those among them that another
// thread is at. What others bury meanwhile is left to the reaper, or this might never end.
void CacheCore::ReapAll(Clock::time_point deadline) {
  const Clock::time_point last = Clock::now();
  bool more = true;
  while (more) {
    {
      const NoAllocationLock lock(mutex_);
      more = !graves_.empty() && graves_.front().died <= last;
    }
    more = more && Reap();
  }
  const NoAllocationLock lock(mutex_);
  const auto others_at_it = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::any_of(reaping_.begin(), reaping_.end(),
                       [last](const Region& region) { return region.died <= last; });
  };
  while (others_at_it()) {
    if (deadline == Clock::time_point::max()) {
      changed_.Wait(mutex_);
    } else if (!changed_.WaitUntil(mutex_, deadline)) {
      return;
    }
  }
}

// Bounds what waits for the reaper, when misses bury faster than one thread deregisters.
void CacheCore::LendAHand() {
  bool behind = true;
  while (behind) {
    FlushLimbo();
    if (!Reap()) return;
    const NoAllocationLock lock(mutex_);
    behind = BehindLocked();
  }
}

bool CacheCore::LimboIsDueLocked() const {
  if (limbo_.empty()) return false;
  return ending_ || limbo_.size() >= kLimboBatch || Clock::now() >= limbo_due_;
}

// Wakes the reaper for the first of `waiting` regions, if it will not come by itself soon, and when
// there are so many that it should come at once. Seldom, because whoever wakes a thread may lose
// the processor to it, with the mutex held.
void CacheCore::CallReaperLocked(std::size_t waiting) {
  if (rest_ == Rest::kNone || (rest_ == Rest::kShort && waiting < kLimboBatch)) return;
  rest_ = Rest::kNone;
  work_.NotifyOne();
}

// Lets the reaper sleep until it is called, or until `until`.
void CacheCore::RestLocked(Clock::time_point until) {
  rest_ = until == Clock::time_point::max() ? Rest::kLong : Rest::kShort;
  if (rest_ == Rest::kLong) {
    work_.Wait(mutex_);
  } else {
    work_.WaitUntil(mutex_, until);
  }
  rest_ = Rest::kNone;
}

// Waits until there is something for the reaper to do. Returns: false when there never will be.
bool CacheCore::WaitForWorkLocked() {
  for (Clock::time_point now = Clock::now(), wakeful = now + kWakefulTime;; now = Clock::now()) {
    RelievePressureLocked();
    if (!graves_.empty() || LimboIsDueLocked()) return true;
    if (ending_ && stats_.regions == 0) return false;
    const bool relief = pressure_ && kept_bytes_ <= max_idle_bytes_;
    Clock::time_point until = now < wakeful ? now + kLimboTime : Clock::time_point::max();
    if (relief) until = std::min(until, pressed_ + kPressureTime);
    RestLocked(limbo_.empty() ? until : limbo_due_);
  }
}

void CacheCore::Reaper() {
  bool orphaned = false;
  bool more = true;
  while (more) {
    bool flush = false;
    {
      const NoAllocationLock lock(mutex_);
      more = WaitForWorkLocked();
      flush = LimboIsDueLocked();
      orphaned = orphaned_;
    }
    if (flush) FlushLimbo();
    Reap();
  }
  if (!orphaned) return;
  monitor_->RemoveListener(this);
  delete this;
}

}  // namespace linchpin::internal
