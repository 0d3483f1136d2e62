// Leases that belong to a PinFile, and what becomes of them when its life ends.
//
// A local registration is shared, so an owner's lease on it is a *claim*: a region of its own in
// the slab, without a registration, that has one lease on the region that has one (its base).
// Revoking takes that lease back, and leaves the claim to its holder as a husk. A registration with
// remote rights is the owner's alone, and is deregistered while it is held.
//
// The file must know when nothing is pinned for it any more. So each link of extras that names it
// counts as a claim there, until the registration is gone:
//
//   claim, held                 link on the claim
//   claim given back            link goes over to the base if nobody else holds that; the base is
//                               idle then, and goes with the file; else the link ends
//   claim revoked               the same, and the base is retired
//   exact, held or revoked      link on the region, until it is deregistered
//   kept by the file's guard    link on the region, until it is deregistered, or, held by others
//                               when the guard ends, until it is out of the cache
#include <utility>
#include <vector>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {

void KeepDirty(const ExtrasChain& chain) {
  for (const RegionExtras* link = chain.get(); link != nullptr; link = link->next.get()) {
    PinFileCore* const file = link->claim.file();
    if (file != nullptr && link->dirty != nullptr) file->KeepDirty(link->dirty->ranges());
  }
}

absl::StatusOr<Lease> CacheCore::Acquire(const void* address, std::size_t length, Access access,
                                         const PinFile& owner) {
  if (Inherited()) return InheritedError();
  absl::StatusOr<Request> request = Check(address, length, access);
  Attempts attempts;
  if (request.ok()) {
    request->file = PinFileCore::Of(owner);
    if (absl::Status begun = BeginOwned(*request, attempts); !begun.ok()) request = begun;
  }
  if (!request.ok()) {
    CountFailure();
    return request.status();
  }
  absl::StatusOr<Lease> lease = AcquireChecked(*request, attempts);
  if (!lease.ok() || request->exact) return lease;
  if (attempts.extras == nullptr) {  // The region has it, because the file's guard keeps it.
    if (absl::Status begun = BeginOwned(*request, attempts); !begun.ok()) lease = begun;
  }
  if (lease.ok()) lease = MakeClaim(*request, *std::move(lease), std::move(attempts.extras));
  if (!lease.ok()) CountFailure();
  return lease;
}

absl::Status CacheCore::BeginOwned(const Request& request, Attempts& attempts) {
  auto extras = std::make_unique<RegionExtras>();
  absl::Status begun = extras->claim.Begin(request.file, *this);
  if (begun.ok()) attempts.extras = std::move(extras);
  return begun;
}

absl::StatusOr<Lease> CacheCore::MakeClaim(const Request& request, Lease base, ExtrasChain extras) {
  ExtrasChain keys = CopyOtherKeys(base.region_);
  for (;;) {
    Region* claim = nullptr;
    {
      const NoAllocationLock lock(mutex_);
      // Asked under the mutex: if it is alive now, OnRevoke is yet to come, and finds the claim.
      if (!request.file->alive()) break;
      claim = hits_.slab().Enter();
      if (claim != nullptr) PublishClaimLocked(*claim, base.region_, keys, extras);
    }
    if (claim != nullptr) {
      base.core_ = nullptr;
      return Lease(this, claim->id, request.range);
    }
    const MutexLock growing(growing_);
    if (!hits_.slab().Grow()) {
      return NoRoom(request.range, "there are as many owned leases as the cache can have");
    }
  }
  return EndedError(request);
}

// Requires: the request's file is not alive, so that it says why no claim can begin.
absl::Status CacheCore::EndedError(const Request& request) {
  Attempts none;
  absl::Status ended = BeginOwned(request, none);
  LINCHPIN_CHECK(!ended.ok());
  return ended;
}

// Requires: this thread holds a lease on the region.
ExtrasChain CacheCore::CopyOtherKeys(RegionId id) const {
  std::size_t count = 0;
  {
    const NoAllocationLock lock(mutex_);
    const ExtrasChain& extras = hits_.slab().held(id).extras;
    if (extras != nullptr) count = extras->other_keys.size();
  }
  if (count == 0) return nullptr;
  auto copy = std::make_unique<RegionExtras>();
  copy->other_keys.reserve(count);
  const NoAllocationLock lock(mutex_);
  const auto& keys = hits_.slab().held(id).extras->other_keys;
  copy->other_keys.assign(keys.begin(), keys.end());
  return copy;
}

void CacheCore::PublishClaimLocked(Region& claim, RegionId base, ExtrasChain& keys,
                                   ExtrasChain& extras) {
  const Record& from = hits_.slab().record(base);
  Record& record = hits_.slab().record(claim.id);
  record.start.store(from.start.load(std::memory_order_relaxed), std::memory_order_relaxed);
  record.size.store(from.size.load(std::memory_order_relaxed), std::memory_order_relaxed);
  record.lkey.store(from.lkey.load(std::memory_order_relaxed), std::memory_order_relaxed);
  record.rkey.store(from.rkey.load(std::memory_order_relaxed), std::memory_order_relaxed);
  claim.use.claim = true;
  claim.Apply(RegionEvent::kRegistered);  // No bytes: its range stays empty.
  claim.extras = std::move(keys);
  extras->base = base;
  OwnLocked(claim, std::move(extras));
  ++hits_.slab().tally(claim.id);
  ++outlived_;
  record.state.store(record_state::kCounted, std::memory_order_release);
}

void CacheCore::OwnLocked(Region& region, ExtrasChain extras) {
  extras->region = region.id;
  owned_.push_back(*extras);
  Attach(region.extras, std::move(extras));
}

// Requires: there is no lease on it any more.
void CacheCore::EndClaimLocked(Region& claim) {
  if (claim.state == RegionState::kLive) {
    claim.Apply(RegionEvent::kRetireIdle);
    ReleaseBaseLocked(claim);
  } else {
    claim.Apply(RegionEvent::kLastRelease);
  }
  SpendLocked(claim);
}

// Gives back the lease that the claim has on its base.
void CacheCore::ReleaseBaseLocked(Region& claim) {
  RegionExtras* const own = OwnerIn(claim.extras);
  LINCHPIN_CHECK(own != nullptr);
  RegionExtras& link = *own;
  Region& base = hits_.slab().held(std::exchange(link.base, 0));
  --hits_.slab().tally(base.id);
  const bool ended = !link.claim.file()->alive();
  if (IsIdleLocked(base) && (ended || !base.use.kept || OwnerIn(base.extras) == nullptr)) {
    link.region = base.id;
    Attach(base.extras, Detach(claim.extras, link));
    if (ended) return RetireLocked(base);
  }
  LookAfterLocked(base.id);
}

// Leaves it to the reaper to free. Requires: Dead, with nothing to deregister.
void CacheCore::SpendLocked(Region& region) {
  hits_.slab().record(region.id).state.store(0, std::memory_order_relaxed);
  for (RegionExtras* link = region.extras.get(); link != nullptr; link = link->next.get()) {
    link->owned.unlink();
  }
  spent_.push_back(region);
  CallReaperLocked(1);
}

void CacheCore::OnClosing(const PinFileCore& file) {
  const NoAllocationLock lock(mutex_);
  ForEachOwnedLocked(file, [this](RegionExtras& link) {
    mutex_.AssertHeld();
    Region& region = hits_.slab().held(link.region);
    if (region.use.kept && IsIdleLocked(region)) RetireLocked(region);
  });
}

void CacheCore::OnRevoke(const PinFileCore& file) {
  ExtrasChain ended;
  {
    const NoAllocationLock lock(mutex_);
    ForEachOwnedLocked(file, [&](RegionExtras& link) {
      mutex_.AssertHeld();
      RevokeLocked(link, ended);
    });
    changed_.NotifyAll();
  }
  KeepDirty(ended);  // Then its end ends the claims.
}

// The link ends with the registration, or, if that stays for others, at once: then it is moved to
// `ended`.
void CacheCore::RevokeLocked(RegionExtras& link, ExtrasChain& ended) {
  Region& region = hits_.slab().held(link.region);
  const bool out = region.retiring || region.revoked || region.state == RegionState::kDead;
  if (out) return;
  if (region.use.claim) {
    ++stats_.revocations;
    region.revoked = true;
    region.Apply(RegionEvent::kRevoke);
    region.Apply(RegionEvent::kDeregistered);
    ReleaseBaseLocked(region);
    if (OwnerIn(region.extras) != &link) return;
  } else if (!region.use.kept) {
    if (LeasesOnLocked(region) != 0) RevokeHeldLocked(region);
    return;
  } else if (IsIdleLocked(region)) {
    return RetireLocked(region);
  } else if (region.use.guarded && region.state == RegionState::kLive) {
    RetireLocked(region);
  }
  link.owned.unlink();
  Attach(ended, Detach(region.extras, link));
}

// An exact region: to be deregistered, and its lease goes on without it.
void CacheCore::RevokeHeldLocked(Region& region) {
  ++stats_.revocations;
  if (region.state == RegionState::kStale) --stats_.stale_regions;
  region.revoked = true;
  region.Apply(RegionEvent::kRevoke);
  region.set.unlink();
  hits_.slab().record(region.id).state.store(record_state::kDoomed, std::memory_order_relaxed);
  region.Died(Clock::now());
  AccountLocked(region, Account::kDeferred);
  graves_.push_back(region);
  CallReaperLocked(graves_.size());
}

void CacheCore::OnSync(const PinFileCore& file, std::vector<Range>& /*dirty*/,
                       std::vector<Range>& held) {
  std::vector<DirtyRanges> left;
  {
    const NoAllocationLock lock(mutex_);
    ++syncing_;
    ForEachOwnedLocked(file, [this](const RegionExtras& link) {
      mutex_.AssertHeld();
      Region& region = hits_.slab().held(link.region);
      if (link.dirty != nullptr && region.use.kept && IsIdleLocked(region)) RetireLocked(region);
    });
  }
  FlushLimbo();
  ReapAll(Clock::time_point::max());  // What was dirty is with the file from then on.
  FreeSpent();
  std::size_t count = 0;
  {
    const NoAllocationLock lock(mutex_);
    ForEachOwnedLocked(file, [&](const RegionExtras& link) { count += link.dirty != nullptr; });
  }
  left.resize(count);
  {
    const NoAllocationLock lock(mutex_);
    ForEachOwnedLocked(file, [&](const RegionExtras& link) {
      if (link.dirty != nullptr && count > 0) link.dirty->MergeInto(left[--count]);
    });
    --syncing_;
    changed_.NotifyAll();
    work_.NotifyOne();
  }
  for (const DirtyRanges& dirty : left) {
    const std::vector<Range>& ranges = dirty.ranges();
    held.insert(held.end(), ranges.begin(), ranges.end());
  }
}

std::uint64_t CacheCore::Held(const PinFileCore& file) {
  std::uint64_t held = 0;
  const NoAllocationLock lock(mutex_);
  ForEachOwnedLocked(file, [&](const RegionExtras& link) {
    mutex_.AssertHeld();
    const Region& region = hits_.slab().held(link.region);
    const bool its_own = region.use.claim || (region.use.exact && !region.use.kept);
    if (its_own && !region.revoked && LeasesOnLocked(region) != 0) ++held;
  });
  return held;
}

void CacheCore::MarkDirty(RegionId id, const Range& written) {
  if (written.empty() || Inherited()) return;
  auto fresh = std::make_unique<DirtyRanges>();
  const NoAllocationLock lock(mutex_);
  const Region& region = hits_.slab().held(id);
  RegionExtras* const link = region.revoked ? nullptr : OwnerIn(region.extras);
  if (link == nullptr) return;
  if (link->dirty == nullptr) link->dirty.swap(fresh);  // What is left of it is freed unlocked.
  link->dirty->Add(written);
}

bool CacheCore::IsKept(RegionId id) const {
  const Region& region = hits_.slab().held(id);
  if (!region.use.claim) return region.use.kept;
  if (Inherited()) return false;
  const NoAllocationLock lock(mutex_);
  return !region.revoked && hits_.slab().held(BaseOf(region)).use.kept;
}

bool CacheCore::IsRevoked(RegionId id) const {
  if (Inherited()) return false;
  const NoAllocationLock lock(mutex_);
  return hits_.slab().held(id).revoked;
}

// Frees what was spent, and returns when others have who are at it.
void CacheCore::FreeSpent() {
  for (;;) {
    Region* region = nullptr;
    {
      const NoAllocationLock lock(mutex_);
      while (spent_.empty() && freeing_ != 0) changed_.Wait(mutex_);
      if (spent_.empty()) return;
      region = &spent_.front();
      spent_.pop_front();
      ++freeing_;
    }
    KeepDirty(region->extras);
    const ExtrasChain ended = std::move(region->extras);
    const NoAllocationLock lock(mutex_);
    hits_.slab().Leave(*region);
    --freeing_;
    --outlived_;
    changed_.NotifyAll();
    if (ending_) work_.NotifyOne();
  }
}

}  // namespace linchpin::internal
