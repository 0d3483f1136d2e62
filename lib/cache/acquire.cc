// Acquire and release under the mutex: what the hit path leaves, and the loop around misses.
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "lib/cache/cache_core.h"

namespace linchpin::internal {
namespace {

constexpr int kMaxCollisions = 4;  // The first registration and three retries.

}  // namespace

absl::Status InheritedError() {
  return absl::FailedPreconditionError(
      "this cache belongs to the parent process; make a new one, and a new registrar, after fork");
}

absl::StatusOr<Request> CacheCore::Check(const void* address, std::size_t length,
                                         Access access) const {
  const absl::StatusOr<Range> range = Range::Of(address, length);
  if (!range.ok()) return range.status();
  if (absl::Status status = Validate(access); !status.ok()) return status;
  if (length > limits_.max_region_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(range->ToString(), " is longer than one region of the device can be, ",
                     limits_.max_region_bytes, " bytes; acquire it in pieces"));
  }
  return Request{*range, access, Any(access & kRemoteRights)};
}

// Ends what an attempt of the hit path left to do. Returns: whether it got a lease.
bool CacheCore::Finish(HitPath::Taken taken) {
  if (taken.outcome == HitPath::Outcome::kUndo) {
    Column& mine = *hits_.columns().Mine();
    if (hits_.Undo(mine, taken.id)) LookAfter(taken.id);
    Columns::Leave(mine);
  }
  return taken.outcome == HitPath::Outcome::kDone;
}

void CacheCore::LookAfter(RegionId id) {
  const NoAllocationLock lock(mutex_);
  LookAfterLocked(id);
  changed_.NotifyAll();
}

RegionId CacheCore::TryAcquireCarefully(std::uintptr_t start, std::size_t size, Access access) {
  if (auditor_.on()) [[unlikely]]
    return TryAcquireAudited(start, size, access);
  return TryAcquireAs<Freshness::kStrict>(start, size, access);
}

RegionId CacheCore::TryAcquireUncommon(std::uintptr_t start, std::size_t size, Access access,
                                       HitPath::Taken taken) {
  if (taken.outcome == HitPath::Outcome::kRefused) {
    taken = hits_.TryAcquireUncommon(start, size, access);
  }
  return Finish(taken) ? taken.id : 0;
}

absl::StatusOr<Lease> CacheCore::Acquire(const void* address, std::size_t length, Access access) {
  if (Inherited()) return InheritedError();
  absl::StatusOr<Request> request = Check(address, length, access);
  if (!request.ok()) {
    CountFailure();
    return request.status();
  }
  Attempts attempts;
  return AcquireChecked(*request, attempts);
}

absl::StatusOr<Lease> CacheCore::AcquireChecked(const Request& request, Attempts& attempts) {
  hits_.Prepare();
  hits_.Settle();  // Before the look-up: what was unmapped by now is out of the index.
  Region* found = nullptr;
  {
    const NoAllocationLock lock(mutex_);
    found = FindLocked(request);
    if (found != nullptr) TakeLocked(*found);
    ++(found != nullptr ? stats_.locked_hits : stats_.misses);
    attempts.landings = landings_;
  }
  if (found != nullptr) {
    Lease lease = Audited(Lease(this, found->id, request.range));
    if (lease) {
      if (found->use.fast) {
        hits_.hints().Set({request.range.start, request.range.start + 1}, found->id);
      }
      return lease;
    }
    ++attempts.collisions;
    attempts.landings = 0;
    const NoAllocationLock lock(mutex_);
    ++stats_.misses;
  }
  hits_.SettleForMiss();
  absl::StatusOr<Lease> lease = Miss(request, attempts);
  if (!lease.ok()) CountFailure();
  return lease;
}

absl::StatusOr<Lease> CacheCore::Miss(const Request& request, Attempts& attempts) {
  while (attempts.collisions < kMaxCollisions) {
    absl::StatusOr<Region*> region = Attempt(request, attempts);
    if (!region.ok()) return region.status();
    if (*region == nullptr) continue;
    Lease lease(this, (*region)->id, request.range);
    if (*region != attempts.region) lease = Audited(std::move(lease));  // A hit after all.
    if (lease) {
      if ((*region)->use.fast) hits_.hints().Set((*region)->range, (*region)->id);
      return lease;
    }
    ++attempts.collisions;
    attempts.landings = 0;
  }
  return absl::AbortedError(absl::StrCat(
      "the mapping of ", request.range.ToString(), " changed during each of ", kMaxCollisions,
      " attempts; do not unmap, remap or discard memory while acquiring it"));
}

// The region that serves the request, if there is one and it may be handed out.
Region* CacheCore::FindLocked(const Request& request) {
  const bool shares = options_.mode == Mode::kOn && !request.IsItsOwnersAlone();
  if (!shares || RefusesLocked()) return nullptr;
  Region* const found = index_.Find(request.range, request.access, request.exact);
  const bool over =
      found != nullptr && OverHeldLocked(found->range.size()) && LeasesOnLocked(*found) == 0;
  return over ? nullptr : found;
}

void CacheCore::TakeLocked(Region& region) {
  ++hits_.slab().tally(region.id);
  AccountLocked(region, Account::kHeld);
  region.used = true;
}

void CacheCore::CountFailure() {
  const NoAllocationLock lock(mutex_);
  ++stats_.failures;
}

void CacheCore::ReleaseUncommon(RegionId id, HitPath::Outcome outcome) noexcept {
  if (outcome == HitPath::Outcome::kRefused) {
    if (Inherited()) return;
    outcome = hits_.TryReleaseUncommon(id);
  }
  if (outcome == HitPath::Outcome::kRefused) return ReleaseLocked(id);
  if (outcome == HitPath::Outcome::kDone) return;
  LookAfter(id);  // In the section, so that the cache does not go meanwhile.
  Columns::Leave(*hits_.columns().Mine());
}

void CacheCore::ReleaseLocked(RegionId id) noexcept {
  hits_.Prepare();
  const NoAllocationLock lock(mutex_);
  --hits_.slab().tally(id);
  LookAfterLocked(id);
  changed_.NotifyAll();
}

std::size_t CacheCore::DevicesOf(RegionId id) const {
  const ExtrasChain& extras = hits_.slab().held(id).extras;
  return extras == nullptr ? 1 : extras->other_keys.size() + 1;
}

RegistrationKeys CacheCore::KeysOf(RegionId id, std::size_t device) const {
  if (device == 0) {
    const Record& record = hits_.slab().record(id);
    return {record.lkey.load(std::memory_order_relaxed),
            record.rkey.load(std::memory_order_relaxed)};
  }
  const ExtrasChain& extras = hits_.slab().held(id).extras;
  LINCHPIN_CHECK(extras != nullptr && device <= extras->other_keys.size());
  return extras->other_keys[device - 1];
}

Range CacheCore::RegisteredOf(RegionId id) const {
  const Record& record = hits_.slab().record(id);
  const std::uintptr_t start = record.start.load(std::memory_order_relaxed);
  return {start, start + record.size.load(std::memory_order_relaxed)};
}

}  // namespace linchpin::internal
