// Acquire and release: hits, and the loop around misses.
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/process.h"
#include "lib/cache/cache_core.h"

namespace linchpin::internal {
namespace {

constexpr int kMaxCollisions = 4;  // The first registration and three retries.

}  // namespace

bool CacheCore::Inherited() const {
  return ProcessCookie() != process_cookie_;
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

absl::StatusOr<Lease> CacheCore::Acquire(const void* address, std::size_t length, Access access) {
  if (Inherited()) {
    return absl::FailedPreconditionError(
        "this cache belongs to the parent process; make a new one, and a new registrar, after "
        "fork");
  }
  absl::StatusOr<Request> request = Check(address, length, access);
  if (!request.ok()) {
    CountFailure();
    return request.status();
  }
  monitor_->Settle();  // Before the look-up: what was unmapped by now is out of the index.
  {
    const NoAllocationLock lock(mutex_);
    if (Region* found = FindLocked(*request)) {
      ++stats_.hits;
      TakeLocked(*found);
      return Lease(this, found, request->range);
    }
    ++stats_.misses;
  }
  absl::StatusOr<Lease> lease = Miss(*request);
  if (!lease.ok()) CountFailure();
  return lease;
}

absl::StatusOr<Lease> CacheCore::Miss(const Request& request) {
  Attempts attempts;
  while (attempts.collisions < kMaxCollisions) {
    absl::StatusOr<Region*> region = Attempt(request, attempts);
    if (!region.ok()) return region.status();
    if (*region != nullptr) return Lease(this, *region, request.range);
  }
  return absl::AbortedError(absl::StrCat(
      "the mapping of ", request.range.ToString(), " changed during each of ", kMaxCollisions,
      " registrations; do not unmap, remap or discard memory while acquiring it"));
}

// The region that serves the request, if there is one and it may be handed out.
Region* CacheCore::FindLocked(const Request& request) {
  if (options_.mode == Mode::kOff || RefusesLocked()) return nullptr;
  Region* const found = index_.Find(request.range, request.access, request.exact);
  const bool over = found != nullptr && found->holders == 0 && OverHeldLocked(found->range.size());
  return over ? nullptr : found;
}

void CacheCore::TakeLocked(Region& region) {
  if (region.holders++ == 0) {
    stats_.idle_bytes -= region.range.size();
    stats_.held_bytes += region.range.size();
    clock_.erase(clock_.iterator_to(region));
  }
  region.used = true;
  ++stats_.leases;
}

void CacheCore::CountFailure() {
  const NoAllocationLock lock(mutex_);
  ++stats_.failures;
}

void CacheCore::Release(Region& region) noexcept {
  if (Inherited()) return;
  const NoAllocationLock lock(mutex_);
  --stats_.leases;
  if (--region.holders == 0) {
    region.Apply(RegionEvent::kLastRelease);
    stats_.held_bytes -= region.range.size();
    if (region.state == RegionState::kDead) {
      --stats_.stale_regions;
      BuryLocked(region);
    } else {
      stats_.idle_bytes += region.range.size();
      const bool keep = region.use.kept && !ending_ && region.range.size() <= max_idle_bytes_;
      if (keep) {
        clock_.push_back(region);
        EvictToLocked(max_idle_bytes_);
      } else {
        RetireLocked(region);
      }
    }
  }
  changed_.NotifyAll();
}

}  // namespace linchpin::internal
