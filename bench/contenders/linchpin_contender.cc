#include "bench/contenders/linchpin_contender.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "linchpin/monitor.h"

namespace linchpin::bench {

LinchpinContender::LinchpinContender(Freshness freshness, std::shared_ptr<MemoryMonitor> monitor,
                                     Audit audit) {
  constexpr std::uint64_t kPlenty = std::uint64_t{1} << 50;
  constexpr std::uint64_t kRegions = std::uint64_t{1} << 24;
  if (monitor == nullptr) monitor = MemoryMonitor::Shared();
  // Without a monitor nothing is kept, and every hit would be a miss.
  if (!monitor->status().ok()) Skip(monitor->status().ToString());
  absl::StatusOr<std::unique_ptr<RegistrationCache>> cache = RegistrationCache::Create(
      std::make_shared<NoopRegistrar>(device_), {.freshness = freshness,
                                                 .max_idle_bytes = kPlenty,
                                                 .max_regions = kRegions,
                                                 .monitor = monitor,
                                                 .audit = audit});
  if (!cache.ok()) Fail(cache.status().ToString());
  cache_ = *std::move(cache);
}

LinchpinContender::~LinchpinContender() {
  const absl::Status status = cache_->Close(absl::Seconds(60));
  if (!status.ok()) Fail(status.ToString());  // The device would be gone before its registrations.
}

}  // namespace linchpin::bench
