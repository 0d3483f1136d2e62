// Linchpin as a benchmark's contender, through its public C++ API in the shared library.
//
// Every contender has the same members, so that one template measures them all:
//   kName, kAbsent          what the rows call it; why it cannot run, or empty
//   Hit(request)            acquire and release
//   Acquire, Release        the two apart, with a Claim between them
//   Invalidate(claim)       no later acquire sees what is claimed
//   Finish(range)           returns when all that was invalidated in the range is deregistered
//   device()                what registers for it
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "bench/contenders/noop_registrar.h"
#include "bench/harness/options.h"
#include "bench/workload/regions.h"
#include "linchpin/cache.h"

namespace linchpin::bench {

class LinchpinContender final {
 public:
  static constexpr std::string_view kName = "Linchpin";
  static constexpr std::string_view kAbsent = {};
  using Claim = Lease;

  explicit LinchpinContender(Freshness freshness = Freshness::kSynchronised,
                             std::shared_ptr<MemoryMonitor> monitor = nullptr,
                             Audit audit = Audit::kNone);
  ~LinchpinContender();
  LinchpinContender(const LinchpinContender&) = delete;
  LinchpinContender& operator=(const LinchpinContender&) = delete;

  void Hit(const Request& request) {
    const absl::StatusOr<Lease> lease =
        cache_->Acquire(request.address, request.length, Access::kLocalWrite);
    if (!lease.ok()) Fail(lease.status().ToString());
  }

  Lease Acquire(const Request& request) {
    absl::StatusOr<Lease> lease =
        cache_->Acquire(request.address, request.length, Access::kLocalWrite);
    if (!lease.ok()) Fail(lease.status().ToString());
    return *std::move(lease);
  }
  void Release(Lease&& lease) { const Lease ended = std::move(lease); }

  void Invalidate(const Lease& lease) {
    const Range range = lease.range();
    cache_->Invalidate(reinterpret_cast<const void*>(range.start), range.size());
  }
  void Finish(Range range) {
    const absl::Status status =
        cache_->Fence(reinterpret_cast<const void*>(range.start), range.size(), absl::Seconds(60));
    if (!status.ok()) Fail(status.ToString());
  }

  NoopDevice& device() { return device_; }
  RegistrationCache& cache() { return *cache_; }

 private:
  NoopDevice device_;
  std::unique_ptr<RegistrationCache> cache_;
};

// In place of the template of bench/workload/removals.h: Finish invalidates too, and waits.
inline void RemoveNow(LinchpinContender& linchpin, const Request& request) {
  linchpin.Release(linchpin.Acquire(request));
  const auto start = reinterpret_cast<std::uintptr_t>(request.address);
  linchpin.Finish({start, start + request.length});
}

}  // namespace linchpin::bench
