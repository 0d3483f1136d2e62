// AcquireMany: one freshness check and one pass for the hits, then the misses one after another.
#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/cache/cache_core.h"

namespace linchpin::internal {
namespace {

// The monitor's reader, and with it a thread that unmaps, waits for no more look-ups than these.
constexpr std::size_t kLookUpsAtOnce = 64;

}  // namespace

absl::StatusOr<std::vector<Lease>> CacheCore::AcquireMany(std::span<const Range> ranges,
                                                          Access access) {
  if (Inherited()) {
    return absl::FailedPreconditionError(
        "this cache belongs to the parent process; make a new one, and a new registrar, after "
        "fork");
  }
  std::vector<Request> requests;
  requests.reserve(ranges.size());
  for (const Range& range : ranges) {
    absl::StatusOr<Request> request =
        Check(reinterpret_cast<const void*>(range.start), range.size(), access);
    if (!request.ok()) {
      CountFailure();
      return request.status();
    }
    requests.push_back(*request);
  }
  // On an error its end gives every lease back. Those still empty are the misses.
  std::vector<Lease> leases(requests.size());
  hits_.Prepare();
  monitor_->Settle();  // Before the first look-up, as in Acquire.
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Range& range = requests[i].range;
    const HitPath::Taken taken = hits_.TryAcquireSettled(range.start, range.size(), access);
    if (Finish(taken)) leases[i] = Lease(this, taken.id, range);
  }
  for (std::size_t done = 0; done < requests.size(); done += kLookUpsAtOnce) {
    const std::size_t end = std::min(done + kLookUpsAtOnce, requests.size());
    const NoAllocationLock lock(mutex_);
    for (std::size_t i = done; i < end; ++i) {
      if (leases[i]) continue;
      Region* const found = FindLocked(requests[i]);
      ++(found != nullptr ? stats_.hits : stats_.misses);
      if (found == nullptr) continue;
      TakeLocked(*found);
      leases[i] = Lease(this, found->id, requests[i].range);
    }
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (leases[i]) continue;
    Attempts attempts;
    absl::StatusOr<Lease> lease = Miss(requests[i], attempts);
    if (!lease.ok()) {
      CountFailure();
      return lease.status();
    }
    leases[i] = *std::move(lease);
  }
  return leases;
}

}  // namespace linchpin::internal
