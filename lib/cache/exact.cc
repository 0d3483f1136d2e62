// Counting exactly. A hit counts in its thread's column, so the cache does not know at once whether
// a region is idle. Where it must know (to evict, to drain, to close) it closes the gate of the
// hits, waits for those that are under way, and folds the columns into the tally: from then on
// every acquire and release takes the mutex, until the gate is opened again.
#include <algorithm>
#include <utility>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {

void CacheCore::EnterExact() {
  {
    const NoAllocationLock lock(mutex_);
    if (exact_users_++ > 0) {
      while (!exact_) changed_.Wait(mutex_);
      return;
    }
    hits_.columns().CloseGate();
  }
  hits_.columns().AwaitQuiet();
  const NoAllocationLock lock(mutex_);
  FoldLocked();
  exact_ = true;
  changed_.NotifyAll();
}

void CacheCore::LeaveExact() {
  if (--exact_users_ > 0) return;
  exact_ = false;
  hits_.columns().OpenGate();
}

// Counts exactly from now on, until the reaper finds that the pressure is gone.
void CacheCore::KeepExactUnderPressure() {
  EnterExact();
  const NoAllocationLock lock(mutex_);
  pressed_ = Clock::now();
  if (std::exchange(pressure_, true)) LeaveExact();
  work_.NotifyOne();
}

void CacheCore::RelievePressureLocked() {
  if (!pressure_ || kept_bytes_ > max_idle_bytes_ || Clock::now() - pressed_ < kPressureTime)
    return;
  pressure_ = false;
  LeaveExact();
}

// Requires: nobody is in a section of a column, and nobody gets in.
void CacheCore::FoldLocked() {
  Slab& slab = hits_.slab();
  hits_.columns().ForEach([&](Column& column) {
    mutex_.AssertHeld();
    const RegionId end = std::min(slab.end(), column.ids.load(std::memory_order_acquire));
    for (RegionId id = 1; id < end; ++id) {
      Count& count = column.counts[id];
      const std::uint32_t acquired = count.acquired.load(std::memory_order_relaxed);
      const std::uint32_t released = count.released.load(std::memory_order_relaxed);
      if (acquired == 0 && released == 0) continue;
      count.acquired.store(0, std::memory_order_relaxed);
      count.released.store(0, std::memory_order_relaxed);
      const std::uint32_t leases = slab.tally(id) += acquired - released;
      Region* const region = slab.region(id);
      if (region == nullptr || region->state != RegionState::kLive || region->retiring) continue;
      region->used = region->used || acquired != 0;
      AccountLocked(*region, leases == 0 ? Account::kIdle : Account::kHeld);
    }
  });
  // Of an exact region the last release may have seen a hit that came late and has told nobody
  // (H2).
  for (RegionId id = 1; id < slab.end(); ++id) {
    Region* const region = slab.region(id);
    if (region == nullptr || region->state != RegionState::kLive || region->retiring) continue;
    if (region->use.kept || slab.tally(id) != 0) continue;
    if (region->use.claim) {
      EndClaimLocked(*region);
    } else {
      RetireLocked(*region);
    }
  }
}

std::uint32_t CacheCore::LeasesOnLocked(const Region& region) const {
  const std::uint32_t counted = hits_.slab().tally(region.id);
  return exact_ ? counted : counted + hits_.columns().Sum(region.id);
}

// Adds to `stats` what the columns count and no fold has brought to the tally yet.
void CacheCore::CountFastLocked(CacheStats& stats) const {
  const Slab& slab = hits_.slab();
  stats.hits = stats.locked_hits;
  stats.audits = auditor_.audits();
  hits_.columns().ForEach(
      [&](const Column& column) { stats.hits += column.hits.load(std::memory_order_relaxed); });
  for (RegionId id = 1; id < slab.end(); ++id) {
    const Region* const region = slab.region(id);
    if (region == nullptr || region->account == Account::kFlying) continue;
    if (region->use.claim && !region->revoked) continue;  // Its base has a lease for it.
    const std::uint32_t leases = LeasesOnLocked(*region);
    stats.leases += leases;
    if (region->state != RegionState::kLive || region->retiring) continue;
    const bool idle = leases == 0;
    if (region->account == (idle ? Account::kHeld : Account::kIdle)) {
      (idle ? stats.held_bytes : stats.idle_bytes) -= region->range.size();
      (idle ? stats.idle_bytes : stats.held_bytes) += region->range.size();
    }
  }
}

std::uint64_t& CacheCore::BytesOfLocked(Account account) {
  switch (account) {
    case Account::kIdle:
      return stats_.idle_bytes;
    case Account::kHeld:
      return stats_.held_bytes;
    case Account::kDeferred:
      return stats_.deferred_bytes;
    default:
      return flying_bytes_;
  }
}

void CacheCore::AccountLocked(Region& region, Account account) {
  const std::uint64_t bytes = region.range.size();
  if (region.account != Account::kNone) BytesOfLocked(region.account) -= bytes;
  if (account != Account::kNone) BytesOfLocked(account) += bytes;
  region.account = account;
}

// What follows from a lease given back on the id, if it was the last. By now the id may be another
// region's, which is then looked after for nothing.
void CacheCore::LookAfterLocked(RegionId id) {
  Region* const region = hits_.slab().region(id);
  if (region == nullptr || region->retiring) return;
  const bool live = region->state == RegionState::kLive;
  if (live && region->use.fast && !exact_) {
    const bool idle = hits_.slab().tally(id) == 0;
    AccountLocked(*region, idle ? Account::kIdle : Account::kHeld);
    return;
  }
  if (LeasesOnLocked(*region) != 0) return;
  if (region->use.claim) {
    if (live || region->state == RegionState::kHusk) EndClaimLocked(*region);
    return;
  }
  if (region->state == RegionState::kRevoked) return region->Apply(RegionEvent::kLastRelease);
  if (region->state == RegionState::kLeaked) {
    if (!region->revoked) return;
    region->revoked = false;  // Now the cache may go.
    --outlived_;
    if (ending_) work_.NotifyOne();
    return;
  }
  if (region->state == RegionState::kHusk) {
    region->Apply(RegionEvent::kLastRelease);
    return SpendLocked(*region);
  }
  if (region->state == RegionState::kStale) {
    region->Apply(RegionEvent::kLastRelease);
    UncountStaleLocked(*region);
    BuryLocked(*region);
    return;
  }
  if (!live) return;
  region->Apply(RegionEvent::kLastRelease);
  AccountLocked(*region, Account::kIdle);
  if (region->use.kept && !ending_ && region->range.size() <= max_idle_bytes_) {
    clock_.splice(clock_.end(), clock_, clock_.iterator_to(*region));
    EvictToLocked(max_idle_bytes_);
  } else {
    RetireLocked(*region);
  }
}

}  // namespace linchpin::internal
