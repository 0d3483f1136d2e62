// The life of a PinFile, as a table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace linchpin::internal {

//   Alive --ended--> Closing --no claims, grace over--> Revoked
//
//   state    claims can begin   claims   its descriptor is watched
//   Alive    yes                any      yes
//   Closing  no                 any      until what it waits for has happened
//   Revoked  no                 any, soon 0: then the guard is let go and the descriptor closed
//
// A file that its user destroys is Closing without an end to its grace, until its descriptor or its
// guard ends that.
enum class PinFileState : std::uint8_t { kAlive, kClosing, kRevoked };

enum class PinFileEvent : std::uint8_t {
  kEnded,     // By its descriptor, its guard, or its user.
  kNoClaims,  // Nothing is pinned for it, and nothing will be.
  kGraceOver,
};

inline constexpr std::size_t kPinFileStates = 3;
inline constexpr std::size_t kPinFileEvents = 3;

namespace pin_file_table {
using enum PinFileState;
inline constexpr auto kNever = PinFileState{0xff};  // The caller broke an invariant.

// One row a state, one column an event, both in the order of their enums.
// clang-format off
inline constexpr std::array<std::array<PinFileState, kPinFileEvents>, kPinFileStates> kNext{{
    /*            ended     no claims  grace over */
    /* Alive   */ {kClosing, kNever,   kNever},
    /* Closing */ {kClosing, kRevoked, kRevoked},
    /* Revoked */ {kRevoked, kRevoked, kNever},
}};
// clang-format on
}  // namespace pin_file_table

constexpr PinFileState Next(PinFileState state, PinFileEvent event) {
  return pin_file_table::kNext[static_cast<std::size_t>(state)][static_cast<std::size_t>(event)];
}

}  // namespace linchpin::internal
