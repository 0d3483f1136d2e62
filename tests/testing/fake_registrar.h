// FakeRegistrar: a registrar with no device behind it, for tests of what the cache asks for. It
// checks how it is called, and can refuse, delay, or call back in the middle of a registration.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "lib/base/mutex.h"
#include "linchpin/registrar.h"

namespace linchpin::testing {

class FakeRegistrar final : public Registrar {
 public:
  using Hook = std::function<absl::Status(Range, Access)>;
  using EndHook = std::function<void(Range)>;

  absl::StatusOr<Registration> Register(Range range, Access access) override;
  absl::Status Deregister(Registration& registration) override;
  RegistrarLimits limits() const override { return limits_; }

  // Called before each registration, with no lock held; what it returns is the answer if not OK.
  void OnRegister(Hook hook);
  void OnDeregister(EndHook hook);  // Called before each deregistration, with no lock held.
  void FailDeregistrations(int count) { failing_deregistrations_ = count; }
  void set_devices(std::uint32_t devices) { devices_ = devices; }  // Each with keys of its own.
  void set_limits(const RegistrarLimits& limits) { limits_ = limits; }

  // What is registered now, and what has been asked for so far (also what was refused).
  std::vector<Registration> registered() const;
  std::size_t registered_count() const { return registered().size(); }
  std::uint64_t registered_bytes() const;
  int calls() const { return calls_; }
  bool IsAlive(std::uint32_t lkey) const;

 private:
  RegistrarLimits limits_;
  std::uint32_t devices_ = 1;
  std::atomic<int> calls_ = 0;
  std::atomic<int> failing_deregistrations_ = 0;
  mutable Mutex mutex_;
  Hook hook_ ABSL_GUARDED_BY(mutex_);
  EndHook end_hook_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t next_handle_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<std::uint64_t, Registration> alive_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace linchpin::testing
