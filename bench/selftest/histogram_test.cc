// Percentiles of times that are not kept.
#include "bench/harness/histogram.h"

#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace linchpin::bench {
namespace {

TEST(Histogram, IsExactForSmallValues) {
  Histogram histogram;
  for (std::uint64_t ns = 0; ns <= 50; ++ns) histogram.Add(ns);
  EXPECT_EQ(histogram.Percentile(0), 0U);
  EXPECT_EQ(histogram.Percentile(0.5), 25U);
  EXPECT_EQ(histogram.Percentile(1), 50U);
}

TEST(Histogram, IsAtMostAThirtySecondTooLow) {
  for (std::uint64_t ns = 1; ns < std::numeric_limits<std::uint64_t>::max() / 3; ns = ns * 3 + 1) {
    Histogram histogram;
    histogram.Add(ns);
    EXPECT_LE(histogram.Percentile(0.5), ns);
    EXPECT_GT(histogram.Percentile(0.5), ns - ns / 32 - 1);
    EXPECT_EQ(histogram.largest(), ns);
  }
  Histogram histogram;
  histogram.Add(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(histogram.Percentile(1), std::uint64_t{63} << 58);
}

TEST(Histogram, SeesOneInAThousand) {
  Histogram histogram;
  for (int i = 0; i < 9990; ++i) histogram.Add(10);
  for (int i = 0; i < 10; ++i) histogram.Add(1024);
  EXPECT_EQ(histogram.Percentile(0.5), 10U);
  EXPECT_EQ(histogram.Percentile(0.999), 10U);
  histogram.Add(1024);
  histogram.Add(1024);
  EXPECT_EQ(histogram.Percentile(0.999), 1024U);
}

}  // namespace
}  // namespace linchpin::bench
