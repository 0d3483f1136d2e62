// Who has which id, and what is under an id that is free.
#include "lib/cache/slab.h"

#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::internal {
namespace {

constexpr std::uint64_t kIds = 10000;

class SlabTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status reserved = slab_.Reserve(kIds);
    ASSERT_TRUE(reserved.ok()) << reserved;
  }

  // Enters one more, growing as the cache does. Returns: null at the capacity.
  Region* Enter() {
    Region* region = nullptr;
    while ((region = slab_.Enter()) == nullptr) {
      if (!slab_.Grow()) return nullptr;
    }
    return region;
  }

  Slab slab_;
};

TEST_F(SlabTest, GivesIdsFromOneOn) {
  EXPECT_EQ(slab_.end(), 1u);
  const Region* const first = Enter();
  const Region* const second = Enter();
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(first->id, 1u);
  EXPECT_EQ(second->id, 2u);
  EXPECT_EQ(slab_.end(), 3u);
  EXPECT_EQ(slab_.region(1), first);
  EXPECT_EQ(slab_.region(2), second);
}

TEST_F(SlabTest, StartsAnIdWithNothing) {
  const RegionId id = Enter()->id;
  EXPECT_EQ(slab_.tally(id), 0u);
  EXPECT_EQ(slab_.record(id).state, 0u);
  EXPECT_EQ(slab_.record(id).size, 0u);
}

TEST_F(SlabTest, UsesIdsAgainBeforeNewOnes) {
  std::vector<Region*> regions(100);
  for (Region*& region : regions) region = Enter();
  const RegionId end = slab_.end();
  std::set<RegionId> left;
  for (std::size_t i = 0; i < regions.size(); i += 3) {
    left.insert(regions[i]->id);
    slab_.Leave(*regions[i]);
  }
  while (!left.empty()) {
    const Region* const again = Enter();
    EXPECT_EQ(left.erase(again->id), 1u);
    EXPECT_EQ(slab_.region(again->id), again);
  }
  EXPECT_EQ(slab_.end(), end);
  EXPECT_EQ(Enter()->id, end);
}

TEST_F(SlabTest, HasNoRegionUnderAFreeId) {
  Region* const first = Enter();
  Region* const second = Enter();
  const RegionId one = first->id;
  const RegionId two = second->id;
  slab_.record(one).state = record_state::kLive;
  slab_.Leave(*second);  // The end of the list of free ids, and then a link in it.
  slab_.Leave(*first);
  EXPECT_EQ(slab_.region(one), nullptr);
  EXPECT_EQ(slab_.region(two), nullptr);
  EXPECT_EQ(slab_.record(one).state, 0u) << "nothing to be had";
}

TEST_F(SlabTest, GivesAsManyIdsAsWereAskedForAndNoMore) {
  EXPECT_EQ(slab_.capacity(), kIds);
  std::vector<Region*> regions(kIds);
  for (std::size_t i = 0; i < regions.size(); ++i) {
    regions[i] = Enter();
    ASSERT_NE(regions[i], nullptr);
    ASSERT_EQ(regions[i]->id, i + 1);
  }
  EXPECT_EQ(Enter(), nullptr);
  slab_.Leave(*regions[4711]);
  const Region* const more = Enter();
  ASSERT_NE(more, nullptr);
  EXPECT_EQ(more->id, 4712u) << "full, but for one that left";
}

// Two threads find that there is no id, and both grow, one after the other.
TEST(Slab, HasGrownAlsoForWhoGrowsSecond) {
  Slab slab;
  ASSERT_TRUE(slab.Reserve(100).ok());
  ASSERT_TRUE(slab.Retract());
  slab.Clear();
  ASSERT_EQ(slab.Enter(), nullptr);
  EXPECT_TRUE(slab.Grow());
  EXPECT_TRUE(slab.Grow()) << "there is room by now";
  EXPECT_NE(slab.Enter(), nullptr);
}

TEST_F(SlabTest, TakesAllIdsBackOnlyWhenNoneIsUsed) {
  Region* const region = Enter();
  EXPECT_FALSE(slab_.Retract());
  slab_.tally(region->id) = 7;
  slab_.record(region->id).size = kIds;
  slab_.Leave(*region);
  ASSERT_TRUE(slab_.Retract());
  EXPECT_EQ(slab_.Enter(), nullptr) << "none is given until it has grown";
  slab_.Clear();
  const Region* const again = Enter();
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->id, 1u);
  EXPECT_EQ(slab_.tally(1), 0u);
  EXPECT_EQ(slab_.record(1).size, 0u);
}

TEST(Slab, HasNoMoreIdsThanAColumnCanCount) {
  Slab slab;
  ASSERT_TRUE(slab.Reserve(UINT64_MAX).ok());
  EXPECT_LT(slab.capacity(), Slab::kMaxIds);
  EXPECT_GE(slab.capacity(), 4095u);
}

}  // namespace
}  // namespace linchpin::internal
