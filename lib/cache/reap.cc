// Deregistration. The reaper's thread does it, or one that must wait for it anyway; never one that
// hits or releases, and never with the mutex held.
#include <algorithm>
#include <optional>
#include <utility>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {

// Moves the oldest grave in `range` to reaping_. Returns: the region, or null if there is none.
Region* CacheCore::TakeDeadLocked(const Range& range) {
  const auto grave = std::find_if(graves_.begin(), graves_.end(),
                                  [&](const Region& dead) { return dead.range.Overlaps(range); });
  if (grave == graves_.end()) return nullptr;
  Region& dead = *grave;
  graves_.erase(grave);
  reaping_.push_back(dead);
  for (RegionExtras* link = dead.extras.get(); link != nullptr; link = link->next.get()) {
    link->owned.unlink();
  }
  const auto lag =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - dead.died());
  stats_.reap_lag_us_max =
      std::max(stats_.reap_lag_us_max, static_cast<std::uint64_t>(lag.count()));
  return &dead;
}

// Requires: this thread took it.
CacheCore::Reaped CacheCore::DeregisterDead(Region& dead) {
  Registration registration = RegistrationOf(dead);
  Reaped reaped;
  reaped.done = registrar_->Deregister(registration).ok();
  if (reaped.done) ledger_.Remove(dead.listed);
  if (auditor_.on() && IsPinned(dead)) dead.extras->frames->EndPin();
  KeepDirty(dead.extras);
  if (!dead.revoked) {
    reaped.extras = std::move(dead.extras);  // Nobody has a lease that would ask for its keys.
    return reaped;
  }
  while (RegionExtras* const link = OwnerIn(dead.extras)) {
    Attach(reaped.extras, Detach(dead.extras, *link));
  }
  return reaped;
}

void CacheCore::EndReapingLocked(Region& region, Reaped reaped) {
  reaping_.erase(reaping_.iterator_to(region));
  --stats_.regions;
  stats_.bytes -= region.range.size();
  AccountLocked(region, Account::kNone);
  while (reaped.extras != nullptr) {
    ExtrasChain rest = std::move(reaped.extras->next);
    Attach(over_, std::exchange(reaped.extras, std::move(rest)));
    CallReaperLocked(1);
  }
  if (!reaped.done) {
    if (region.state == RegionState::kRevoked) ++outlived_;
    region.Apply(RegionEvent::kDeregisterFailed);
    leaked_.push_back(region);
    ++stats_.leaked;
  } else {
    ++stats_.deregistrations;
    EndDeregisteredLocked(region);
  }
  changed_.NotifyAll();
  if (ending_) work_.NotifyOne();
}

// What becomes of a region that has no registration any more.
void CacheCore::EndDeregisteredLocked(Region& region) {
  if (!region.revoked) return hits_.slab().Leave(region);
  ++outlived_;
  if (region.state == RegionState::kRevoked) return region.Apply(RegionEvent::kDeregistered);
  SpendLocked(region);  // Given back meanwhile.
}

void CacheCore::EndReaping(Region& region, Reaped reaped) {
  const NoAllocationLock lock(mutex_);
  EndReapingLocked(region, std::move(reaped));
}

bool CacheCore::ReapOne(const Range& range) {
  Region* dead = nullptr;
  {
    const NoAllocationLock lock(mutex_);
    dead = TakeDeadLocked(range);
  }
  if (dead == nullptr) return false;
  EndReaping(*dead, DeregisterDead(*dead));
  return true;
}

// What the registrar returned for the region.
Registration CacheCore::RegistrationOf(const Region& region) const {
  Registration registration;
  registration.range = region.range;
  registration.access = region.access;
  registration.handle = region.handle;
  registration.keys.push_back(KeysOf(region.id, 0));
  if (region.extras != nullptr) {
    const std::vector<RegistrationKeys>& others = region.extras->other_keys;
    registration.keys.insert(registration.keys.end(), others.begin(), others.end());
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
      more = !graves_.empty() && graves_.front().died() <= last;
    }
    more = more && ReapOne(kEverywhere);
  }
  const NoAllocationLock lock(mutex_);
  const auto others_at_it = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::any_of(reaping_.begin(), reaping_.end(),
                       [last](const Region& region) { return region.died() <= last; });
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
    if (!ReapOne(kEverywhere)) return;
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
void CacheCore::RestLocked(Rest rest, Clock::time_point until) {
  rest_ = rest;
  if (until == Clock::time_point::max()) {
    work_.Wait(mutex_);
  } else {
    work_.WaitUntil(mutex_, until);
  }
  rest_ = Rest::kNone;
}

// Waits until there is something for the reaper to do. Returns: false when there never will be.
bool CacheCore::WaitForWorkLocked() {
  std::optional<Clock::time_point> wakeful;
  for (;;) {
    RelievePressureLocked();
    const bool over = !spent_.empty() || over_ != nullptr;
    if (over || !graves_.empty() || LimboIsDueLocked()) return true;
    if (ending_ && EmptyLocked() && syncing_ == 0) return false;
    const Clock::time_point now = Clock::now();
    const Clock::time_point look = NextLookLocked(now);
    if (look <= now) return true;
    if (!wakeful) wakeful = now + kWakefulTime;
    const bool relief = pressure_ && kept_bytes_ <= max_idle_bytes_;
    Clock::time_point until = Clock::time_point::max();
    if (relief || now < *wakeful) until = now + kLimboTime;
    if (!limbo_.empty()) until = limbo_due_;
    const Rest rest = until == Clock::time_point::max() ? Rest::kLong : Rest::kShort;
    RestLocked(rest, std::min(until, look));
  }
}

// One lock for each of the dead: to end with the last one, and to take the next. But a claim is
// ended with none of them in hand, because that may wait for a Sync, which waits for all in
// reaping_.
void CacheCore::Reaper() {
  bool orphaned = false;
  Reaped reaped;
  Region* dead = nullptr;
  for (bool more = true; more;) {
    bool flush = false;
    bool look = false;
    {
      const NoAllocationLock lock(mutex_);
      if (dead != nullptr) EndReapingLocked(*dead, std::exchange(reaped, {}));
      more = WaitForWorkLocked();
      flush = LimboIsDueLocked();
      const Clock::time_point now = Clock::now();
      look = NextLookLocked(now) <= now;
      const bool clear = spent_.empty() && over_ == nullptr;
      dead = clear ? TakeDeadLocked(kEverywhere) : nullptr;
      orphaned = orphaned_;
    }
    if (flush) FlushLimbo();
    if (dead != nullptr) {
      reaped = DeregisterDead(*dead);
    } else {
      FreeSpent();
      EndLinks();
    }
    if (look && more) LookAtLedger();
  }
  if (!orphaned) return;
  monitor_->RemoveListener(this);
  delete this;
}

}  // namespace linchpin::internal
