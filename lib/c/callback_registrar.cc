#include "lib/c/callback_registrar.h"

#include <cstdint>
#include <cstdlib>
#include <limits>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"

namespace linchpin::c {
namespace {

// The errno value in what a callback returned. A positive one is against the contract, but tells
// the same.
int ErrnoOf(int returned) {
  return returned == std::numeric_limits<int>::min() ? EIO : std::abs(returned);
}

constexpr const char* kThrew = ": the callback let an exception out; catch it there";

}  // namespace

absl::StatusOr<Registration> CallbackRegistrar::Register(Range range, Access access) {
  void* handle = nullptr;
  RegistrationKeys keys;
  int result = 0;
  try {
    result = callbacks_.reg(context_, reinterpret_cast<void*>(range.start), range.size(),
                            static_cast<std::uint32_t>(access), &handle, &keys.lkey, &keys.rkey);
  } catch (...) {
    return absl::InternalError(absl::StrCat("reg of ", range.ToString(), kThrew));
  }
  if (result != 0) {
    return RegistrationError(ErrnoOf(result), absl::StrCat("reg for ", ToString(access)), range);
  }
  return Registration{.range = range,
                      .access = access,
                      .keys = {keys},
                      .handle = reinterpret_cast<std::uintptr_t>(handle)};
}

absl::Status CallbackRegistrar::Deregister(Registration& registration) {
  int result = 0;
  try {
    result = callbacks_.dereg(context_, reinterpret_cast<void*>(registration.handle));
  } catch (...) {
    return absl::InternalError(absl::StrCat("dereg of ", registration.range.ToString(), kThrew));
  }
  if (result != 0) {
    return ErrnoToStatus(ErrnoOf(result), absl::StrCat("dereg of ", registration.range.ToString()),
                         "whether the memory is still pinned is unknown");
  }
  registration.handle = 0;
  return absl::OkStatus();
}

RegistrarLimits CallbackRegistrar::limits() const {
  RegistrarLimits limits;
  if (callbacks_.max_regions != 0) limits.max_regions = callbacks_.max_regions;
  if (callbacks_.max_region_bytes != 0) limits.max_region_bytes = callbacks_.max_region_bytes;
  return limits;
}

}  // namespace linchpin::c
