// The table of a region's life, pair by pair, against a list written from the design and not from
// the table.
#include "lib/cache/region_state.h"

#include <map>
#include <utility>

#include "gtest/gtest.h"

namespace linchpin {
namespace {

using State = RegionState;
using Event = RegionEvent;

TEST(RegionState, EveryPairOfStateAndEventIsAsDesigned) {
  const std::map<std::pair<State, Event>, State> allowed{
      {{State::kRegistering, Event::kRegistered}, State::kLive},
      {{State::kRegistering, Event::kFailed}, State::kDead},
      {{State::kRegistering, Event::kMappingChanged}, State::kCollided},
      {{State::kCollided, Event::kMappingChanged}, State::kCollided},
      {{State::kCollided, Event::kRegistered}, State::kDead},
      {{State::kCollided, Event::kFailed}, State::kDead},
      {{State::kLive, Event::kRetireHeld}, State::kStale},
      {{State::kLive, Event::kRetireIdle}, State::kDead},
      {{State::kLive, Event::kLastRelease}, State::kLive},
      {{State::kStale, Event::kRetireHeld}, State::kStale},
      {{State::kStale, Event::kLastRelease}, State::kDead},
      {{State::kDead, Event::kDeregisterFailed}, State::kLeaked},
      {{State::kLive, Event::kRevoke}, State::kRevoked},
      {{State::kStale, Event::kRevoke}, State::kRevoked},
      {{State::kRevoked, Event::kLastRelease}, State::kDead},
      {{State::kRevoked, Event::kDeregistered}, State::kHusk},
      {{State::kRevoked, Event::kDeregisterFailed}, State::kLeaked},
      {{State::kHusk, Event::kLastRelease}, State::kDead},
  };
  for (std::size_t state = 0; state < kRegionStates; ++state) {
    for (std::size_t event = 0; event < kRegionEvents; ++event) {
      const std::pair pair{static_cast<State>(state), static_cast<Event>(event)};
      const auto found = allowed.find(pair);
      const State expected = found == allowed.end() ? region_table::kNever : found->second;
      EXPECT_EQ(Next(pair.first, pair.second), expected) << "state " << state << " event " << event;
    }
  }
}

TEST(RegionState, NothingLeavesLeakedAndNothingReturnsToLive) {
  for (std::size_t event = 0; event < kRegionEvents; ++event) {
    EXPECT_EQ(Next(State::kLeaked, static_cast<Event>(event)), region_table::kNever);
    for (const State state :
         {State::kCollided, State::kStale, State::kDead, State::kRevoked, State::kHusk}) {
      EXPECT_NE(Next(state, static_cast<Event>(event)), State::kLive);
    }
  }
}

}  // namespace
}  // namespace linchpin
