// Auditing: what a hit would hand out is compared with what is mapped. docs/concurrency.md, A1,
// says why what is found is never a race that the program may run.
#include <utility>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {

// What the region is to have besides, made while it is registered and not yet Live: pages may move
// at the registration, not after it. With auditing, every region that is pinned has such a link,
// even if its frames could not be read: a hit looks for it without the mutex.
ExtrasChain CacheCore::FirstLink(const Registration& registration, const Attempts& attempts) const {
  const Region& region = *attempts.region;
  ExtrasChain link;
  if (registration.keys.size() > 1) {
    link = std::make_unique<RegionExtras>();
    link->other_keys.assign(registration.keys.begin() + 1, registration.keys.end());
  }
  if (auditor_.on() && IsPinned(region)) {
    if (link == nullptr) link = std::make_unique<RegionExtras>();
    link->frames = auditor_.Sample(region.range, attempts.private_pages);
  }
  return link;
}

bool CacheCore::IsUnaudited(const Region& region) const {
  if (!IsPinned(region)) return false;
  return auditor_.refused() || (auditor_.on() && !region.extras->frames->readable());
}

RegionId CacheCore::TryAcquireAudited(std::uintptr_t start, std::size_t size, Access access) {
  const RegionId id = hits_.strict() ? TryAcquireAs<Freshness::kStrict>(start, size, access)
                                     : TryAcquireAs<Freshness::kSynchronised>(start, size, access);
  if (id == 0) return 0;
  Lease lease = Audited(Lease(this, id, {start, start + size}));
  if (!lease) return 0;
  lease.core_ = nullptr;  // The lease is the caller's.
  return id;
}

// Returns: the lease, if the pages that it is on are those behind its range, as far as is known.
// Else none, and what it was on is not handed out any more. Requires: no lock is held.
Lease CacheCore::Audited(Lease lease) {
  if (!auditor_.on()) return lease;
  const Region& region = hits_.slab().held(lease.region_);
  if (!IsPinned(region)) return lease;
  const Range asked = lease.range();
  const FrameSample::Comparison look = auditor_.Compare(*region.extras->frames, asked);
  if (look.finding == FrameSample::Finding::kUnknown) return lease;
  auditor_.CountAudit();
  if (look.finding == FrameSample::Finding::kSame) return lease;
  const AuditFinding finding{asked, look.page, look.then, look.now, region.range, device_};
  const bool missed = TakeOutMissed(region, asked);
  lease = Lease();
  if (!missed) return lease;
  auditor_.LogOnce(finding);
  if (options_.on_audit) options_.on_audit(finding);
  return lease;
}

// Takes out what is registered in `asked`, whose frames were seen to be others than the region's.
// Returns: whether the cache had not heard of that. Whatever made an event before the frames were
// read is told when the monitor has settled, and then the region is not Live any more.
bool CacheCore::TakeOutMissed(const Region& region, const Range& asked) {
  monitor_->Settle();
  monitor_->Forget(asked);  // Before the regions go, as in Invalidate.
  const NoAllocationLock lock(mutex_);
  if (region.state != RegionState::kLive || region.retiring) return false;
  ++stats_.audit_findings;
  ChangedInLocked(asked);
  return true;
}

}  // namespace linchpin::internal
