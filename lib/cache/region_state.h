// The life of a region, as a table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace linchpin {

//   Registering --registered--> Live <--last release: idle, kept
//     |   |                      | |
//     |   failed                 | '--invalidate, supersede (held)--> Stale
//     |   |                      |                                     | last release
//     |   '------> Dead <--------' evict, invalidate (idle)            |
//     |              ^  <-----------------------------------------------'
//     invalidate     |
//     v              |--deregistered--> (freed)
//   Collided --------'--deregister failed--> Leaked
//
//   Live, Stale --revoke--> Revoked --deregistered--> Husk --last release--> Dead, and freed
//                             '--last release--> Dead
//
//   state        found by Acquire  holders      device may use it
//   Registering  only to wait      none yet     not yet
//   Live         yes, if shared    any, 0=idle  yes
//   Collided     no                none         never: the mapping changed under the registration
//   Stale        no                > 0          until the last lets go
//   Dead         no                0            no: queued for the reaper
//   Leaked       no                any          unknown: deregistration failed
//   Revoked      no                > 0          no: queued for the reaper although held
//   Husk         no                > 0          no: deregistered; only the leases are left
enum class RegionState : std::uint8_t {
  kRegistering,
  kLive,
  kCollided,
  kStale,
  kDead,
  kLeaked,
  kRevoked,
  kHusk,
};

enum class RegionEvent : std::uint8_t {
  kRegistered,
  kFailed,          // The registrar refused: there is nothing to deregister.
  kRetireHeld,      // The mapping changed, or a larger region took over; someone holds it.
  kRetireIdle,      // The same, or room was needed; no one holds it.
  kMappingChanged,  // While it is being registered.
  kLastRelease,     // Of a region that is kept when idle, or was retired.
  kDeregisterFailed,
  kRevoke,        // Its owner's life ended; someone holds it.
  kDeregistered,  // Although held.
};

inline constexpr std::size_t kRegionStates = 8;
inline constexpr std::size_t kRegionEvents = 9;

namespace region_table {
using enum RegionState;
inline constexpr auto kNever = RegionState{0xff};  // The caller broke an invariant.

// One row a state, one column an event, both in the order of their enums.
// clang-format off
inline constexpr std::array<std::array<RegionState, kRegionEvents>, kRegionStates> kNext{{
  //                regist. failed  r.held  r.idle  changed    last    dereg.   revoke    dereg.
  //                                                           release failed
  /* Registering */ {kLive,  kDead,  kNever, kNever, kCollided, kNever, kNever,  kNever,   kNever},
  /* Live        */ {kNever, kNever, kStale, kDead,  kNever,    kLive,  kNever,  kRevoked, kNever},
  /* Collided    */ {kDead,  kDead,  kNever, kNever, kCollided, kNever, kNever,  kNever,   kNever},
  /* Stale       */ {kNever, kNever, kStale, kNever, kNever,    kDead,  kNever,  kRevoked, kNever},
  /* Dead        */ {kNever, kNever, kNever, kNever, kNever,    kNever, kLeaked, kNever,   kNever},
  /* Leaked      */ {kNever, kNever, kNever, kNever, kNever,    kNever, kNever,  kNever,   kNever},
  /* Revoked     */ {kNever, kNever, kNever, kNever, kNever,    kDead,  kLeaked, kNever,   kHusk},
  /* Husk        */ {kNever, kNever, kNever, kNever, kNever,    kDead,  kNever,  kNever,   kNever},
}};
// clang-format on
}  // namespace region_table

constexpr RegionState Next(RegionState state, RegionEvent event) {
  return region_table::kNext[static_cast<std::size_t>(state)][static_cast<std::size_t>(event)];
}

}  // namespace linchpin
