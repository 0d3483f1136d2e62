// Limbo. Whether a region that was taken out is held cannot be told at once: a hit may be under way
// that read its record just before. So its record says first that it is not to be had (which is
// enough for every later acquire), and soon, for many regions together:
//
//   the records say Doomed: who lets go tells us          (locked)
//   one heavy barrier: each hit sees that, or we its count
//   sum up: no lease, Dead; else Stale                     (locked)
//
// Between the two lockings the regions are in no list of the core; a last release leaves them alone
// because they are still retiring, and the sum that comes after it finds them.
#include "lib/cache/cache_core.h"

namespace linchpin::internal {

void CacheCore::FlushLimbo() {
  RegionList doomed;
  {
    const NoAllocationLock lock(mutex_);
    if (limbo_.empty() && doomed_ == 0) return;
    doomed_ += limbo_.size();
    for (const Region& region : limbo_) {
      hits_.slab().record(region.id).state.store(record_state::kDoomed, std::memory_order_seq_cst);
    }
    doomed.swap(limbo_);
  }
  hits_.barrier().Heavy();
  const NoAllocationLock lock(mutex_);
  const Clock::time_point now = Clock::now();  // Of the lock's order, as the graves are.
  while (!doomed.empty()) {
    Region& region = doomed.front();
    doomed.pop_front();
    --doomed_;
    LeaveLimboLocked(region, now);
  }
  changed_.NotifyAll();
  while (doomed_ != 0) changed_.Wait(mutex_);  // Another thread is just at it.
}

void CacheCore::LeaveLimboLocked(Region& region, Clock::time_point now) {
  region.retiring = false;
  if (LeasesOnLocked(region) != 0) {
    region.Apply(RegionEvent::kRetireHeld);
    LeaveToHoldersLocked(region);
    AccountLocked(region, Account::kHeld);
    CountStaleLocked(region);
  } else {
    region.Apply(RegionEvent::kRetireIdle);
    BuryLocked(region, now);
  }
}

}  // namespace linchpin::internal
