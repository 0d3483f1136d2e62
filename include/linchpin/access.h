#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace linchpin {

// What a device may do with registered memory: the bits of ibv_access_flags.
enum class Access : std::uint32_t {
  kLocalRead = 0,  // Every registration allows it.
  kLocalWrite = 1,
  kRemoteWrite = 2,  // Needs kLocalWrite.
  kRemoteRead = 4,
  kRemoteAtomic = 8,  // Needs kLocalWrite.
  kMwBind = 16,
  kOnDemand = 64,  // No pin: the device faults pages in. Not every device and transport can.
  kRelaxedOrdering = 1 << 20,
};

constexpr Access operator|(Access a, Access b) {
  return static_cast<Access>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr Access operator&(Access a, Access b) {
  return static_cast<Access>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}
constexpr Access operator~(Access a) {
  return static_cast<Access>(~static_cast<std::uint32_t>(a));
}
constexpr bool Any(Access a) {
  return a != Access::kLocalRead;
}

inline constexpr Access kRemoteRights =
    Access::kRemoteWrite | Access::kRemoteRead | Access::kRemoteAtomic;
inline constexpr Access kKnownAccess = kRemoteRights | Access::kLocalWrite | Access::kMwBind |
                                       Access::kOnDemand | Access::kRelaxedOrdering;

// "LocalWrite|RemoteRead"; "LocalRead" for no bit at all; unknown bits in hexadecimal.
std::string ToString(Access access);

// Returns: OK when every device may be asked for `access`; InvalidArgument, with the remedy, for a
// bit that has no meaning here, and for RemoteWrite or RemoteAtomic without LocalWrite.
absl::Status Validate(Access access);

}  // namespace linchpin
