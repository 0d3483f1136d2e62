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
//   claim given back, revoked   link goes over to the base if that was the last lease on it, or if
//   it
//                               is dirty; else it ends
//   exact, held or revoked      link on the region, until it is deregistered
//   kept by the file's guard    link on the region, until it is deregistered
//
// What is held by others when the file's life ends stays theirs, and loses its link.
//
// Links end on the reaper's thread alone, with none of the dead in its hands: ending a claim waits
// for calls of the cache by that file on other threads, and a Sync waits for all in reaping_.
#include <utility>
#include <vector>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {
namespace {

// Whether a lease on such a region may be an owner's own: most are not, and are told so without the
// mutex.
bool MayBeOwned(const RegionUse& use) {
  return use.claim || (use.exact && !use.kept);
}

}  // namespace

void KeepDirty(const ExtrasChain& chain) {
  for (RegionExtras* link = chain.get(); link != nullptr; link = link->next.get()) {
    const std::unique_ptr<DirtyRanges> dirty = std::move(link->dirty);
    if (dirty != nullptr) link->claim.file()->KeepDirty(dirty->ranges());
  }
}

bool PassOnDirty(RegionExtras& link, const ExtrasChain& chain) {
  bool has_owner = false;
  for (RegionExtras* there = chain.get(); there != nullptr; there = there->next.get()) {
    const PinFileCore* const file = there->claim.file();
    has_owner = has_owner || (file != nullptr && file->alive());
    if (file != link.claim.file() || !IsDirty(link)) continue;
    if (there->dirty == nullptr) {
      there->dirty.swap(link.dirty);
    } else {
      link.dirty->MergeInto(*there->dirty);
      link.dirty->Clear();
    }
  }
  return has_owner;
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
  lease = MakeClaim(*request, *std::move(lease), std::move(attempts.own));
  if (!lease.ok()) CountFailure();
  return lease;
}

// An exact region takes the one link there is; a local lease needs one for itself, and one for the
// region, if that is going to be kept by the file's guard.
absl::Status CacheCore::BeginOwned(const Request& request, Attempts& attempts) {
  const auto begin = [&](ExtrasChain& link) {
    auto begun = std::make_unique<RegionExtras>();
    absl::Status status = begun->claim.Begin(request.file, *this);
    if (status.ok()) link = std::move(begun);
    return status;
  };
  attempts.file = request.file.get();
  absl::Status begun = absl::OkStatus();
  if (request.exact || request.file->guard() != nullptr) begun = begin(attempts.extras);
  if (begun.ok() && !request.exact) begun = begin(attempts.own);
  return begun;
}

absl::StatusOr<Lease> CacheCore::MakeClaim(const Request& request, Lease base, ExtrasChain own) {
  ExtrasChain keys = CopyOtherKeys(base.region_);
  own->base = base.region_;
  base.core_ = nullptr;  // The lease is the link's from here on.
  bool ended = false;
  for (bool again = true; again;) {
    bool full = false;
    {
      const NoAllocationLock lock(mutex_);
      // Asked under the mutex: if it is alive now, OnRevoke is yet to come, and finds the claim.
      ended = !request.file->alive();
      full = outlived_ >= max_claims_;
      Region* const claim = ended || full ? nullptr : hits_.slab().Enter();
      if (claim != nullptr) {
        PublishClaimLocked(*claim, keys, own);
        return Lease(this, claim->id, request.range);
      }
    }
    again = !ended && ((!full && GrowSlab()) || FreeSpent());
  }
  {
    const NoAllocationLock lock(mutex_);
    GiveBaseBackLocked(std::move(own));
    changed_.NotifyAll();
  }
  if (ended) return EndedError(request);
  return NoRoom(request.range, "there are as many owned leases as the cache can have");
}

bool CacheCore::GrowSlab() {
  const MutexLock growing(growing_);
  return hits_.slab().Grow();
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

void CacheCore::PublishClaimLocked(Region& claim, ExtrasChain& keys, ExtrasChain& own) {
  const Record& from = hits_.slab().record(own->base);
  Record& record = hits_.slab().record(claim.id);
  record.start.store(from.start.load(std::memory_order_relaxed), std::memory_order_relaxed);
  record.size.store(from.size.load(std::memory_order_relaxed), std::memory_order_relaxed);
  record.lkey.store(from.lkey.load(std::memory_order_relaxed), std::memory_order_relaxed);
  record.rkey.store(from.rkey.load(std::memory_order_relaxed), std::memory_order_relaxed);
  claim.use.claim = true;
  claim.access = hits_.slab().held(own->base).access;
  claim.Apply(RegionEvent::kRegistered);  // No bytes: its range stays empty.
  claim.extras = std::move(keys);
  OwnLocked(claim, std::move(own));
  ++hits_.slab().tally(claim.id);
  ++outlived_;
  record.state.store(record_state::kCounted, std::memory_order_release);
}

void CacheCore::OwnLocked(Region& region, ExtrasChain link) {
  link->region = region.id;
  if (!link->owned.is_linked()) owned_.push_back(*link);
  Attach(region.extras, std::move(link));
}

// The reaper ends it.
void CacheCore::EndLinkLocked(ExtrasChain link) {
  link->owned.unlink();
  Attach(over_, std::move(link));
  CallReaperLocked(1);
}

// Requires: there is no lease on it any more.
void CacheCore::EndClaimLocked(Region& claim) {
  if (claim.state == RegionState::kLive) {
    claim.Apply(RegionEvent::kRetireIdle);
    GiveBaseBackLocked(DetachOwn(claim));
  } else {
    claim.Apply(RegionEvent::kLastRelease);
  }
  SpendLocked(claim);
}

ExtrasChain CacheCore::DetachOwn(Region& claim) {
  const RegionExtras* const own = OwnerIn(claim.extras);
  LINCHPIN_CHECK(own != nullptr);
  return Detach(claim.extras, *own);
}

// Gives back the lease that the link has on its base, and the link goes over to that or ends.
void CacheCore::GiveBaseBackLocked(ExtrasChain link) {
  const PinFileCore& file = *link->claim.file();
  Region& base = hits_.slab().held(std::exchange(link->base, 0));
  --hits_.slab().tally(base.id);
  const bool last = LeasesOnLocked(base) == 0;
  const bool live = base.state == RegionState::kLive && !base.retiring;
  const bool stays = live && base.use.kept && file.alive();
  const bool has_owner = PassOnDirty(*link, base.extras);
  if (IsDirty(*link) || (last && !(stays && has_owner))) {
    OwnLocked(base, std::move(link));
  } else {
    EndLinkLocked(std::move(link));
  }
  if (last && live && !file.alive()) return RetireLocked(base);
  LookAfterLocked(base.id);
}

// Leaves it to the reaper to free. Requires: Dead, with nothing to deregister, and no link.
void CacheCore::SpendLocked(Region& region) {
  hits_.slab().record(region.id).state.store(0, std::memory_order_relaxed);
  spent_.push_back(region);
  CallReaperLocked(1);
}

void CacheCore::OnClosing(const PinFileCore& file) {
  const NoAllocationLock lock(mutex_);
  ForEachOwnedLocked(file, [this](const RegionExtras& link) {
    mutex_.AssertHeld();
    Region& region = hits_.slab().held(link.region);
    if (!region.use.kept || RetireUnheldLocked(region) || IsDirty(link)) return;
    EndLinkLocked(Detach(region.extras, link));
  });
}

// Claims first: then what nobody else holds is idle.
void CacheCore::OnRevoke(const PinFileCore& file) {
  const NoAllocationLock lock(mutex_);
  ForEachOwnedLocked(file, [this](const RegionExtras& link) {
    mutex_.AssertHeld();
    Region& region = hits_.slab().held(link.region);
    if (region.use.claim && !region.revoked) RevokeClaimLocked(region);
  });
  ForEachOwnedLocked(file, [this](const RegionExtras& link) {
    mutex_.AssertHeld();
    Region& region = hits_.slab().held(link.region);
    if (region.use.kept) {
      if (!RetireUnheldLocked(region)) EndLinkLocked(Detach(region.extras, link));
    } else if (!region.use.claim && !region.revoked && !region.retiring) {
      RevokeExactLocked(region);
    }
  });
  changed_.NotifyAll();
}

void CacheCore::RevokeClaimLocked(Region& claim) {
  ++stats_.revocations;
  claim.revoked = true;
  claim.Apply(RegionEvent::kRevoke);
  claim.Apply(RegionEvent::kDeregistered);
  GiveBaseBackLocked(DetachOwn(claim));
}

// Retires a region that is kept, if nobody holds it; and if a guard kept it, because then it is not
// to be had any more. Returns: whether its links go with it; if not, it is others'.
bool CacheCore::RetireUnheldLocked(Region& region) {
  const bool live = region.state == RegionState::kLive && !region.retiring;
  if (live && (region.use.guarded || LeasesOnLocked(region) == 0)) RetireLocked(region);
  return region.retiring || region.state == RegionState::kDead;
}

// What was in limbo, and turned out to be held.
void CacheCore::LeaveToHoldersLocked(Region& region) {
  for (const RegionExtras* link = region.extras.get(); link != nullptr;) {
    const RegionExtras* const next = link->next.get();
    const PinFileCore* const file = link->claim.file();
    if (file != nullptr && !file->alive()) EndLinkLocked(Detach(region.extras, *link));
    link = next;
  }
}

// An exact region: to be deregistered, and its lease goes on without it.
void CacheCore::RevokeExactLocked(Region& region) {
  const bool live = region.state == RegionState::kLive;
  if (LeasesOnLocked(region) == 0) {
    if (live) RetireLocked(region);
    return;
  }
  ++stats_.revocations;
  if (!live) UncountStaleLocked(region);
  region.revoked = true;
  region.Apply(RegionEvent::kRevoke);
  BuryLocked(region);
}

void CacheCore::OnSync(const PinFileCore& file, std::vector<Range>& held) {
  {
    const NoAllocationLock lock(mutex_);
    ++syncing_;
    ForEachOwnedLocked(file, [this](const RegionExtras& link) {
      mutex_.AssertHeld();
      Region& region = hits_.slab().held(link.region);
      if (IsDirty(link) && region.use.kept && IsIdleLocked(region)) RetireLocked(region);
    });
  }
  FlushLimbo();
  ReapAll(Clock::time_point::max());  // What was dirty is with the file from then on.
  std::size_t count = 0;
  {
    const NoAllocationLock lock(mutex_);
    ForEachOwnedLocked(file, [&](const RegionExtras& link) { count += IsDirty(link) ? 1U : 0U; });
  }
  std::vector<DirtyRanges> left(count);
  {
    const NoAllocationLock lock(mutex_);
    ForEachOwnedLocked(file, [&](const RegionExtras& link) {
      if (IsDirty(link) && count > 0) link.dirty->MergeInto(left[--count]);
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
    if (MayBeOwned(region.use) && !region.revoked && LeasesOnLocked(region) != 0) ++held;
  });
  return held;
}

void CacheCore::MarkDirty(RegionId id, const Range& written) {
  if (written.empty() || Inherited() || !MayBeOwned(hits_.slab().held(id).use)) return;
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
  if (Inherited() || !MayBeOwned(hits_.slab().held(id).use)) return false;
  const NoAllocationLock lock(mutex_);
  return hits_.slab().held(id).revoked;
}

// Frees what was spent. Returns: whether there was anything.
bool CacheCore::FreeSpent() {
  RegionList spent;
  {
    const NoAllocationLock lock(mutex_);
    while (spent_.empty() && freeing_ != 0) changed_.Wait(mutex_);
    if (spent_.empty()) return false;
    spent.swap(spent_);
    ++freeing_;
  }
  for (Region& region : spent) region.extras = nullptr;
  const NoAllocationLock lock(mutex_);
  while (!spent.empty()) {
    Region& region = spent.front();
    spent.pop_front();
    hits_.slab().Leave(region);
    --outlived_;
  }
  --freeing_;
  changed_.NotifyAll();
  if (ending_) work_.NotifyOne();
  return true;
}

// Ends what links are over. For the reaper, with nothing in its hands.
void CacheCore::EndLinks() {
  ExtrasChain over;
  {
    const NoAllocationLock lock(mutex_);
    over = std::move(over_);
  }
  KeepDirty(over);
  while (over != nullptr) {
    ExtrasChain rest = std::move(over->next);
    over.swap(rest);
  }
}

}  // namespace linchpin::internal
