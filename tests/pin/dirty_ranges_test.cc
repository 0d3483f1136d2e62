// Tests that dirty ranges stay few, ordered and apart, and never lose a byte.
#include "lib/pin/dirty_ranges.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <set>
#include <vector>

namespace linchpin::internal {
namespace {

TEST(DirtyRanges, RangesThatOverlapOrTouchBecomeOne) {
  DirtyRanges dirty;
  dirty.Add({10, 20});
  dirty.Add({30, 40});
  dirty.Add({20, 25});
  EXPECT_EQ(dirty.ranges(), (std::vector<Range>{{10, 25}, {30, 40}}));
  dirty.Add({24, 31});
  EXPECT_EQ(dirty.ranges(), (std::vector<Range>{{10, 40}}));
  dirty.Add({0, 100});
  EXPECT_EQ(dirty.ranges(), (std::vector<Range>{{0, 100}}));
}

TEST(DirtyRanges, AnEmptyRangeAddsNothing) {
  DirtyRanges dirty;
  dirty.Add({10, 10});
  EXPECT_TRUE(dirty.empty());
}

TEST(DirtyRanges, WhenThereAreManyTheNearestTwoBecomeOne) {
  DirtyRanges dirty;
  for (std::uintptr_t i = 0; i < DirtyRanges::kRangesMax; ++i) dirty.Add({i * 100, i * 100 + 10});
  EXPECT_EQ(dirty.ranges().size(), DirtyRanges::kRangesMax);
  dirty.Add({315, 320});  // Five bytes after the one that begins at 300.
  EXPECT_EQ(dirty.ranges().size(), DirtyRanges::kRangesMax);
  EXPECT_EQ(dirty.ranges()[3], (Range{300, 320}));
}

TEST(DirtyRanges, OneSetMergesIntoAnother) {
  DirtyRanges one;
  DirtyRanges other;
  one.Add({10, 20});
  other.Add({15, 30});
  one.MergeInto(other);
  EXPECT_EQ(other.ranges(), (std::vector<Range>{{10, 30}}));
  EXPECT_EQ(one.ranges(), (std::vector<Range>{{10, 20}}));
}

// Against a plain set of bytes: everything marked is covered; while there are few ranges, nothing
// else is.
TEST(DirtyRanges, CoverEveryByteThatWasMarked) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::minstd_rand random(seed);
  for (int round = 0; round < 50; ++round) {
    DirtyRanges dirty;
    std::set<std::uintptr_t> bytes;
    const int marks = round < 25 ? 30 : 300;
    for (int i = 0; i < marks; ++i) {
      const std::uintptr_t start = random() % 5000;
      const std::uintptr_t end = start + random() % 8;
      dirty.Add({start, end});
      for (std::uintptr_t byte = start; byte < end; ++byte) bytes.insert(byte);
      ASSERT_LE(dirty.ranges().size(), DirtyRanges::kRangesMax);
    }
    std::size_t covered = 0;
    std::uintptr_t previous = 0;
    for (const Range& range : dirty.ranges()) {
      ASSERT_FALSE(range.empty());
      if (previous != 0) {
        ASSERT_GT(range.start, previous);
      }
      previous = range.end;
      covered += range.size();
    }
    for (const std::uintptr_t byte : bytes) {
      bool found = false;
      for (const Range& range : dirty.ranges()) found |= range.Contains({byte, byte + 1});
      ASSERT_TRUE(found) << byte;
    }
    if (marks <= 30) {
      ASSERT_EQ(covered, bytes.size());
    }
  }
}

}  // namespace
}  // namespace linchpin::internal
