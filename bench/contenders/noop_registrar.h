// Registrations that cost nothing, so that only the caches are compared. What sleeps and what
// counts here does so for every contender alike.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/access.h"
#include "linchpin/range.h"
#include "linchpin/registrar.h"

namespace linchpin::bench {

// A device that does nothing: keys by counting, and one range of memory that is slow to register.
class NoopDevice final {
 public:
  std::uint32_t Register(Range range);
  void Deregister() { deregistrations_.fetch_add(1, std::memory_order_relaxed); }

  // Registering what begins in `range` sleeps for `delay`. Set before threads register.
  void SlowDown(Range range, std::chrono::milliseconds delay);

  std::uint64_t registrations() const { return registrations_.load(); }
  std::uint64_t deregistrations() const { return deregistrations_.load(); }

 private:
  std::atomic<std::uint64_t> registrations_ = 0;
  std::atomic<std::uint64_t> deregistrations_ = 0;
  Range slow_;
  std::chrono::milliseconds delay_{0};
};

// The device as Linchpin takes it.
class NoopRegistrar final : public Registrar {
 public:
  explicit NoopRegistrar(NoopDevice& device) : device_(device) {}

  absl::StatusOr<Registration> Register(Range range, Access access) override;
  absl::Status Deregister(Registration& registration) override;
  RegistrarLimits limits() const override { return {}; }

 private:
  NoopDevice& device_;
};

}  // namespace linchpin::bench
