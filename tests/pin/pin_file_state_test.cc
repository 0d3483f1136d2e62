// Tests of the pin file's state table, over all of it.
#include "lib/pin/pin_file_state.h"

#include <gtest/gtest.h>

#include <array>

namespace linchpin::internal {
namespace {

using enum PinFileState;
using enum PinFileEvent;
constexpr std::array kStates{kAlive, kClosing, kRevoked};
constexpr std::array kEvents{kEnded, kNoClaims, kGraceOver};
static_assert(kStates.size() == kPinFileStates && kEvents.size() == kPinFileEvents);

TEST(PinFileState, NoFileComesBackToLife) {
  for (const PinFileState state : kStates) {
    for (const PinFileEvent event : kEvents) {
      const PinFileState next = Next(state, event);
      if (next == pin_file_table::kNever) continue;
      EXPECT_NE(next, kAlive);
      EXPECT_GE(next, state);
    }
  }
}

TEST(PinFileState, OnlyAnEndedFileIsRevoked) {
  EXPECT_EQ(Next(kAlive, kEnded), kClosing);
  EXPECT_EQ(Next(kAlive, kNoClaims), pin_file_table::kNever);
  EXPECT_EQ(Next(kAlive, kGraceOver), pin_file_table::kNever);
  EXPECT_EQ(Next(kClosing, kNoClaims), kRevoked);
  EXPECT_EQ(Next(kClosing, kGraceOver), kRevoked);
}

TEST(PinFileState, GraceIsOverOnce) {
  EXPECT_EQ(Next(kRevoked, kGraceOver), pin_file_table::kNever);
}

// A file may be ended by several causes, and its last claim may end long after it was revoked.
TEST(PinFileState, ARevokedFileMayBeEndedAgainAndLoseItsLastClaim) {
  EXPECT_EQ(Next(kRevoked, kEnded), kRevoked);
  EXPECT_EQ(Next(kRevoked, kNoClaims), kRevoked);
}

}  // namespace
}  // namespace linchpin::internal
