// The arithmetic of a comparison.
#include "bench/harness/ratio.h"

#include <vector>

#include "gtest/gtest.h"

namespace linchpin::bench {
namespace {

TEST(Percentile, IsTheNearestRankBelow) {
  const std::vector<double> values = {5, 1, 4, 2, 3};
  EXPECT_EQ(Percentile(values, 0), 1);
  EXPECT_EQ(Percentile(values, 0.5), 3);
  EXPECT_EQ(Percentile(values, 0.9), 4);
  EXPECT_EQ(Percentile(values, 1), 5);
}

TEST(Percentile, OfOneValueIsThatValue) {
  EXPECT_EQ(Percentile({7}, 0.1), 7);
  EXPECT_EQ(Percentile({7}, 0.999), 7);
}

// Over the rounds both get ten times slower: the ratio of the medians would hide who is faster.
TEST(RatioOf, DividesWithinEachRound) {
  const Ratio ratio = RatioOf({1, 10, 100}, {2, 20, 200});
  EXPECT_DOUBLE_EQ(ratio.median, 0.5);
  EXPECT_DOUBLE_EQ(ratio.p10, 0.5);
  EXPECT_DOUBLE_EQ(ratio.p90, 0.5);
}

TEST(RatioOf, ShowsTheSpread) {
  std::vector<double> contender;
  for (int i = 1; i <= 11; ++i) contender.push_back(i);
  const Ratio ratio = RatioOf(contender, std::vector<double>(11, 2.0));
  EXPECT_DOUBLE_EQ(ratio.median, 3);
  EXPECT_DOUBLE_EQ(ratio.p10, 1);
  EXPECT_DOUBLE_EQ(ratio.p90, 5);
}

}  // namespace
}  // namespace linchpin::bench
