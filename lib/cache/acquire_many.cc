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
  if (Inherited()) return InheritedError();
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
  // On an error its end gives every lease back.
  std::vector<Lease> leases(requests.size());
  hits_.Prepare();
  hits_.Settle();                 // Before the first look-up, as in Acquire.
  std::vector<std::size_t> left;  // Of the requests: what does not hit without the mutex.
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Range& range = requests[i].range;
    const HitPath::Taken taken = hits_.TryAcquireSettled(range.start, range.size(), access);
    if (Finish(taken)) {
      leases[i] = Lease(this, taken.id, range);
    } else {
      left.push_back(i);
    }
  }
  for (std::size_t done = 0; done < left.size(); done += kLookUpsAtOnce) {
    const std::size_t end = std::min(done + kLookUpsAtOnce, left.size());
    const NoAllocationLock lock(mutex_);
    for (std::size_t at = done; at < end; ++at) {
      Region* const found = FindLocked(requests[left[at]]);
      ++(found != nullptr ? stats_.locked_hits : stats_.misses);
      if (found == nullptr) continue;
      TakeLocked(*found);
      leases[left[at]] = Lease(this, found->id, requests[left[at]].range);
    }
  }
  // What fails is told of by now, and no hit any more.
  for (std::size_t i = 0; auditor_.on() && i < leases.size(); ++i) {
    if (!leases[i]) continue;
    leases[i] = Audited(std::move(leases[i]));
    if (leases[i]) continue;
    left.push_back(i);
    const NoAllocationLock lock(mutex_);
    ++stats_.misses;
  }
  const auto misses = [&](std::size_t i) { return !leases[i]; };
  if (std::any_of(left.begin(), left.end(), misses)) hits_.SettleForMiss();
  for (const std::size_t i : left) {
    if (!misses(i)) continue;
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
