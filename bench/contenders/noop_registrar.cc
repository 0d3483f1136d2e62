#include "bench/contenders/noop_registrar.h"

#include <thread>

namespace linchpin::bench {

std::uint32_t NoopDevice::Register(Range range) {
  if (range.start >= slow_.start && range.start < slow_.end) std::this_thread::sleep_for(delay_);
  return static_cast<std::uint32_t>(registrations_.fetch_add(1, std::memory_order_relaxed)) + 1;
}

void NoopDevice::SlowDown(Range range, std::chrono::milliseconds delay) {
  slow_ = range;
  delay_ = delay;
}

absl::StatusOr<Registration> NoopRegistrar::Register(Range range, Access access) {
  const std::uint32_t key = device_.Register(range);
  return Registration{
      .range = range, .access = access, .keys = {{.lkey = key, .rkey = key}}, .handle = key};
}

absl::Status NoopRegistrar::Deregister(Registration& registration) {
  registration.handle = 0;
  device_.Deregister();
  return absl::OkStatus();
}

}  // namespace linchpin::bench
