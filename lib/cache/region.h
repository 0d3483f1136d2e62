// Region: one cached registration, and the flight that others wait for while it is being made.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "boost/intrusive/list_hook.hpp"
#include "boost/intrusive/set_hook.hpp"

#include "lib/base/check.h"
#include "lib/base/mutex.h"
#include "lib/cache/region_extras.h"
#include "lib/cache/region_state.h"
#include "linchpin/access.h"
#include "linchpin/range.h"
#include "linchpin/registrar.h"

namespace linchpin::internal {

// A registration under way, made by the first who waits for it. Those who want memory it covers
// wait here, on this flight alone, with the cache's mutex released. All fields are guarded by the
// mutex of the cache.
struct Flight : std::enable_shared_from_this<Flight> {
  CondVar landed;
  bool done = false;
  // Why it failed, once done; OK also for one that collided. No absl::Status, which threads would
  // share by a count: Debian's Abseil is not instrumented, so ThreadSanitizer takes that for a
  // race.
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  Range range;  // What it tried to register, and with which rights.
  Access access = Access::kLocalRead;
};

// How a region may be used; fixed when it is published.
struct RegionUse {
  bool exact : 1 = false;    // Has remote rights: serves exactly its bytes and rights.
  bool shared : 1 = false;   // Acquire may find it: more than one lease may hold it.
  bool kept : 1 = false;     // Stays registered when idle. Implies shared.
  bool fast : 1 = false;     // May be hit without the mutex: shared and not exact.
  bool trusted : 1 = false;  // Nobody watches it; the application says when it changes.
  bool watched : 1 = false;  // Its lease hears of changes, at least of the mapping.
  bool claim : 1 = false;    // No registration: an owner's lease on another region (owned.cc).
  bool guarded : 1 = false;  // Kept only because the guard of its owner's file holds.
};

// What a region's bytes count as in the statistics.
enum class Account : std::uint8_t { kNone, kFlying, kIdle, kHeld, kDeferred };

// All fields are guarded by the mutex of the cache, but that id, range, access, use and handle do
// not change from Live to the region's end, so who holds a lease may read them.
//
//   in `set`   the index: pending, a shelf, exact, or aside; nowhere when Dead or Leaked
//   in `list`  the clock when Live and kept; limbo while retiring; the graves when Dead or Revoked;
//              in reaping or leaked after; spent when there is nothing to deregister (any more)
// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): of its union one member has a value.
struct Region {
  using SetHook =
      boost::intrusive::set_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>,
                                        boost::intrusive::optimize_size<true>>;
  using ListHook =
      boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

  using Clock = std::chrono::steady_clock;

  // From Dead on.
  Clock::time_point died() const { return Clock::time_point(Clock::duration(died_at)); }
  void Died(Clock::time_point now) { died_at = now.time_since_epoch().count(); }

  void Apply(RegionEvent event) {
    const RegionState next = Next(state, event);
    LINCHPIN_CHECK(next != region_table::kNever);
    state = next;
  }

  RegionId id = 0;  // From its publication until it is deregistered.
  Access access = Access::kLocalRead;
  RegionUse use;
  RegionState state = RegionState::kRegistering;
  Account account = Account::kNone;
  bool retiring : 1 = false;  // Live, and out of the cache: whether it is held will be known soon.
  bool used : 1 = false;      // Hit since the clock's hand last passed.
  bool revoked : 1 = false;   // Deregistered, or about to be, although held.
  std::uint32_t listed = 0;   // Its entry in the ledger of pins.

  Range range;
  // In the cache: the hull of the requests that it was made for, within `range`. Out of it: the
  // hull of what has changed under it, empty if nothing has.
  Range asked_or_changed;
  std::uint64_t handle = 0;  // The registrar's. The keys of device 0 are in the record.
  ExtrasChain extras;        // What most have not.
  union {
    Flight* flight = nullptr;  // While Registering or Collided: what others wait for, who keep it.
    Clock::rep died_at;        // From Dead on, since the clock's own beginning.
  };

  SetHook set;
  ListHook list;
};

// The region that a claim has a lease on. Requires: it is a claim, held and not revoked.
inline RegionId BaseOf(const Region& claim) {
  const RegionExtras* const link = OwnerIn(claim.extras);
  LINCHPIN_CHECK(link != nullptr);
  return link->base;
}

}  // namespace linchpin::internal
