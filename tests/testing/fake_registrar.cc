#include "tests/testing/fake_registrar.h"

#include "lib/base/check.h"
#include "lib/base/no_allocation.h"

namespace linchpin::testing {

absl::StatusOr<Registration> FakeRegistrar::Register(Range range, Access access) {
  LINCHPIN_CHECK(!NoAllocation::Promised());  // Called with no lock held.
  LINCHPIN_CHECK(!range.empty() && Validate(access).ok());
  ++calls_;
  Hook hook;
  {
    const MutexLock lock(mutex_);
    hook = hook_;
  }
  if (hook) {
    if (absl::Status status = hook(range, access); !status.ok()) return status;
  }
  const MutexLock lock(mutex_);
  Registration registration{range, access, {}, next_handle_++};
  const auto key = static_cast<std::uint32_t>(registration.handle);
  for (std::uint32_t device = 0; device < devices_; ++device) {
    const std::uint32_t of_device = key | device << 24;
    registration.keys.push_back({of_device, of_device | 0x80000000u});
  }
  alive_[registration.handle] = registration;
  return registration;
}

absl::Status FakeRegistrar::Deregister(Registration& registration) {
  LINCHPIN_CHECK(!NoAllocation::Promised());
  if (failing_deregistrations_ > 0) {
    --failing_deregistrations_;
    return absl::InternalError("told to fail");
  }
  EndHook hook;
  {
    const MutexLock lock(mutex_);
    hook = end_hook_;
  }
  if (hook) hook(registration.range);
  const MutexLock lock(mutex_);
  LINCHPIN_CHECK(alive_.erase(registration.handle) == 1);  // Never twice.
  registration.handle = 0;
  return absl::OkStatus();
}

void FakeRegistrar::OnRegister(Hook hook) {
  const MutexLock lock(mutex_);
  hook_ = std::move(hook);
}

void FakeRegistrar::OnDeregister(EndHook hook) {
  const MutexLock lock(mutex_);
  end_hook_ = std::move(hook);
}

std::vector<Registration> FakeRegistrar::registered() const {
  const MutexLock lock(mutex_);
  std::vector<Registration> all;
  all.reserve(alive_.size());
  for (const auto& [handle, registration] : alive_) all.push_back(registration);
  return all;
}

std::uint64_t FakeRegistrar::registered_bytes() const {
  std::uint64_t bytes = 0;
  for (const Registration& registration : registered()) bytes += registration.range.size();
  return bytes;
}

bool FakeRegistrar::IsAlive(std::uint32_t lkey) const {
  const MutexLock lock(mutex_);
  return alive_.contains(lkey);
}

}  // namespace linchpin::testing
