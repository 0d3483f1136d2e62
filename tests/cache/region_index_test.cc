// The index against a plain list of regions.
#include "lib/cache/region_index.h"

#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::internal {
namespace {

std::unique_ptr<Region> MakeRegion(Range range, Access access) {
  auto region = std::make_unique<Region>();
  region->range = range;
  region->asked_or_changed = range;
  region->access = access;
  region->use = {.exact = Any(access & kRemoteRights), .shared = true, .kept = true};
  region->state = RegionState::kLive;
  return region;
}

TEST(RegionIndex, AnOverlapSetFindsWhatAPlainListFinds) {
  std::mt19937 random(7);
  OverlapSet set;
  std::vector<std::unique_ptr<Region>> all;
  for (int step = 0; step < 3000; ++step) {
    const std::uintptr_t start = random() % 10000;
    const std::uintptr_t size = 1 + random() % (random() % 10 == 0 ? 3000u : 30u);
    const Range range{start, start + size};
    if (random() % 3 != 0) {
      all.push_back(MakeRegion(range, Access::kLocalRead));
      set.Insert(*all.back());
    } else if (!all.empty()) {
      const std::size_t victim = random() % all.size();
      all[victim]->set.unlink();
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(victim));
    }
    std::size_t expected = 0;
    for (const auto& region : all) expected += region->range.Overlaps(range) ? 1u : 0u;
    std::size_t found = 0;
    set.ForEachOverlapping(range, [&](const Region&) { ++found; });
    ASSERT_EQ(found, expected) << range.ToString();
  }
  for (const auto& region : all) region->set.unlink();
}

TEST(RegionIndex, AShelfFindsTheRegionThatContainsARequestIfOneDoes) {
  std::mt19937 random(11);
  Shelf shelf;
  std::vector<std::unique_ptr<Region>> all;
  for (int step = 0; step < 3000; ++step) {
    const std::uintptr_t start = random() % 10000;
    const Range range{start, start + 1 + random() % 200};
    const Region* expected = nullptr;
    bool chain = false;
    std::size_t overlapping = 0;
    for (const auto& region : all) {
      if (region->range.Contains(range)) expected = region.get();
      chain = chain || region->range.Contains(range) || range.Contains(region->range);
      overlapping += region->range.Overlaps(range) ? 1u : 0u;
    }
    const Region* found = shelf.FindContaining(range);
    ASSERT_EQ(found != nullptr, expected != nullptr);
    if (found != nullptr) {
      ASSERT_TRUE(found->range.Contains(range));
    }
    std::size_t visited = 0;
    shelf.ForEachOverlapping(range, [&](const Region&) { ++visited; });
    ASSERT_EQ(visited, overlapping);
    if (!chain) {
      all.push_back(MakeRegion(range, Access::kLocalRead));
      shelf.Insert(*all.back());
    } else if (!all.empty() && random() % 2 == 0) {
      const std::size_t victim = random() % all.size();
      all[victim]->set.unlink();
      all.erase(all.begin() + static_cast<std::ptrdiff_t>(victim));
    }
  }
  for (const auto& region : all) region->set.unlink();
}

TEST(RegionIndex, FindAsksEveryShelfThatCoversTheRights) {
  for (unsigned have = 0; have < 4; ++have) {
    for (unsigned want = 0; want < 4; ++want) {
      const auto access = [](unsigned bits) {
        return static_cast<Access>((bits & 1) | ((bits & 2) << 3));
      };
      RegionIndex index;
      const auto region = MakeRegion({4096, 8192}, access(have));
      index.shelf(region->access).Insert(*region);
      const bool covers = (have & want) == want;
      EXPECT_EQ(index.Find({5000, 5001}, access(want), false) != nullptr, covers);
      EXPECT_EQ(index.Find({5000, 5001}, access(want) | Access::kRelaxedOrdering, false), nullptr);
      EXPECT_EQ(index.Find({5000, 5001}, access(want) | Access::kOnDemand, false), nullptr);
      index.CheckInvariants();
      region->set.unlink();
    }
  }
}

}  // namespace
}  // namespace linchpin::internal
