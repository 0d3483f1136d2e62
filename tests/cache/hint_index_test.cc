// What is found under an address, and what may be forgotten.
#include "lib/cache/hint_index.h"

#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::internal {
namespace {

constexpr std::uintptr_t kPageBytes = 4096;
constexpr std::uintptr_t kTwoMiB = std::uintptr_t{2} << 20;
constexpr std::uintptr_t kGiB = std::uintptr_t{1} << 30;
constexpr std::uintptr_t kBase = std::uintptr_t{0x1234} << 30;  // Any; on a border of 2 MiB.
constexpr std::uintptr_t kHighest = std::uintptr_t{1} << 48;    // Beyond what has hints.

class HintIndexTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(slab_.Reserve(kIds).ok());
    hints_.Reserve(kIds);
  }

  static Range Pages(std::uintptr_t first, std::uintptr_t count) {
    return {kBase + first * kPageBytes, kBase + (first + count) * kPageBytes};
  }

  // As the cache does when the region of this id goes live.
  void Live(RegionId id, Range range) {
    Record& record = slab_.record(id);
    record.start = range.start;
    record.size = range.size();
    record.state = record_state::kLive;
    hints_.Set(range, id);
  }
  void Die(RegionId id) { slab_.record(id).state = 0; }

  static constexpr RegionId kIds = 1000;
  Slab slab_;
  HintIndex hints_{slab_};
};

TEST_F(HintIndexTest, FindsNothingWhereNothingWasEverSet) {
  EXPECT_EQ(hints_.Find(0), 0u);
  EXPECT_EQ(hints_.Find(kBase), 0u);
  EXPECT_EQ(hints_.Find(kHighest - 1), 0u);
  Live(1, Pages(0, 1));
  EXPECT_EQ(hints_.Find(kBase + kTwoMiB), 0u);
  EXPECT_EQ(hints_.Find(kBase - 1), 0u);
}

TEST_F(HintIndexTest, FindsARegionAtItsFirstAndAtItsLastByte) {
  const Range range{kBase + 100 * kPageBytes, kBase + 5 * kTwoMiB + 7 * kPageBytes};
  Live(3, range);
  EXPECT_EQ(hints_.Find(range.start), 3u);
  EXPECT_EQ(hints_.Find(range.start + range.size() / 2), 3u);
  EXPECT_EQ(hints_.Find(range.end - 1), 3u);
}

TEST_F(HintIndexTest, FindsRegionsThatShareTwoMiB) {
  for (RegionId id = 1; id <= 512; ++id) Live(id, Pages(id - 1, 1));
  for (RegionId id = 1; id <= 512; ++id) {
    ASSERT_EQ(hints_.Find(Pages(id - 1, 1).start), id);
    ASSERT_EQ(hints_.Find(Pages(id - 1, 1).end - 1), id);
  }
}

TEST_F(HintIndexTest, FindsWhatMeetsInTheMiddleOfTwoMiB) {
  const Range left{kBase, kBase + kTwoMiB + 200 * kPageBytes};
  const Range right{left.end, kBase + 3 * kTwoMiB};
  Live(1, left);
  Live(2, right);
  EXPECT_EQ(hints_.Find(left.end - 1), 1u);
  EXPECT_EQ(hints_.Find(right.start), 2u);
  EXPECT_EQ(hints_.Find(right.end - 1), 2u);
}

TEST_F(HintIndexTest, FindsALargerRegionWhereASmallerOneWas) {
  Live(1, Pages(1, 1));
  Live(2, Pages(3, 1));
  Live(7, {kBase, kBase + 2 * kTwoMiB});
  EXPECT_EQ(hints_.Find(Pages(1, 1).start), 7u);
  EXPECT_EQ(hints_.Find(Pages(500, 1).start), 7u);
  EXPECT_EQ(hints_.Find(kBase + kTwoMiB), 7u);
}

TEST_F(HintIndexTest, FindsTheBeginningOfAVeryLongRegionAndTheRestOnceSet) {
  const Range range{kBase + kPageBytes, kBase + kPageBytes + 40 * kGiB};
  Live(5, range);
  EXPECT_EQ(hints_.Find(range.start), 5u);
  EXPECT_EQ(hints_.Find(range.start + kGiB / 2), 5u);
  const std::uintptr_t far = range.end - 1;  // Behind another block, of 512 GiB, or in the same.
  hints_.Set({far, far + 1}, 5);
  EXPECT_EQ(hints_.Find(far), 5u);
}

TEST_F(HintIndexTest, FindsARegionAcrossTheBorderOfTwoBlocks) {
  constexpr std::uintptr_t kBorder = std::uintptr_t{9} << 39;
  Live(6, {kBorder - kPageBytes, kBorder + kPageBytes});
  EXPECT_EQ(hints_.Find(kBorder - 1), 6u);
  EXPECT_EQ(hints_.Find(kBorder), 6u);
}

// An address up there may be answered with the hint of one down here; its record says no.
TEST_F(HintIndexTest, HasNoHintsForWhatIsBeyond48Bits) {
  Live(1, {kHighest - kPageBytes, kHighest + kPageBytes});
  EXPECT_EQ(hints_.Find(kHighest - 1), 1u);
  EXPECT_EQ(hints_.Find(kHighest), 0u);
  EXPECT_EQ(hints_.Find(0), 0u) << "which shares it";
  Live(2, {std::uintptr_t{1} << 56, (std::uintptr_t{1} << 56) + kPageBytes});
  EXPECT_EQ(hints_.Find(std::uintptr_t{1} << 56), 0u);
  EXPECT_EQ(hints_.Find(UINTPTR_MAX), 1u) << "the hint of the highest page down here";
}

// A leaf would still have the dead id under its own page.
TEST_F(HintIndexTest, MakesNoLeafBesideARegionThatIsGone) {
  Live(1, Pages(0, 1));
  Die(1);
  Live(2, Pages(1, 1));
  EXPECT_EQ(hints_.Find(Pages(1, 1).start), 2u);
  EXPECT_EQ(hints_.Find(Pages(0, 1).start), 2u);
}

TEST_F(HintIndexTest, MakesNoLeafBesideARegionThatMovedAway) {
  Live(1, Pages(0, 1));
  Die(1);
  Live(1, Pages(1000, 1));  // The id is another region's.
  Live(2, Pages(1, 1));
  EXPECT_EQ(hints_.Find(Pages(1, 1).start), 2u);
  EXPECT_EQ(hints_.Find(Pages(0, 1).start), 2u);
}

TEST_F(HintIndexTest, ReplacesAnIdInALeaf) {
  Live(1, Pages(0, 1));
  Live(2, Pages(1, 1));
  Die(1);
  Live(3, Pages(0, 1));
  EXPECT_EQ(hints_.Find(Pages(0, 1).start), 3u);
  EXPECT_EQ(hints_.Find(Pages(1, 1).start), 2u);
}

// Threads set pages of the same 2 MiB, in one block that is not made yet: one block, one leaf.
TEST_F(HintIndexTest, KeepsWhatManyThreadsSetAtOnce) {
  constexpr RegionId kThreads = 4;
  constexpr RegionId kEach = 128;
  std::vector<std::thread> threads;
  for (RegionId thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([this, thread] {
      for (RegionId i = 0; i < kEach; ++i) {
        const RegionId page = i * kThreads + thread;
        Live(page + 1, Pages(page, 1));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (RegionId page = 0; page < kThreads * kEach; ++page) {
    EXPECT_EQ(hints_.Find(Pages(page, 1).start), page + 1);
  }
}

}  // namespace
}  // namespace linchpin::internal
