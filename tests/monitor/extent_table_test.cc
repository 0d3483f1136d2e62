// The table of known extents and the hull of what may be armed, without a kernel.
#include "lib/monitor/extent_table.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "lib/monitor/armed_hull.h"

namespace linchpin {
namespace {

constexpr std::uintptr_t kPage = 4096;

WatchedExtent Uniform(Range range) {
  WatchedExtent extent;
  extent.range = range;
  extent.uniform = true;
  extent.coverage = Coverage::kAll;
  return extent;
}

bool Learn(ExtentTable& table, Range range) {
  const ExtentTable::Probe probe(table, range);
  return table.Publish(probe, Uniform(range));
}

TEST(ExtentTable, KnowsWhatWasPublishedUntilItChanges) {
  ExtentTable table;
  ASSERT_TRUE(Learn(table, {10 * kPage, 20 * kPage}));
  ASSERT_TRUE(Learn(table, {20 * kPage, 30 * kPage}));
  EXPECT_EQ(table.Find({10 * kPage, 20 * kPage})->range, (Range{10 * kPage, 20 * kPage}));
  EXPECT_EQ(table.Find({25 * kPage, 25 * kPage + 1})->range, (Range{20 * kPage, 30 * kPage}));
  EXPECT_FALSE(table.Find({19 * kPage, 21 * kPage}).has_value());
  EXPECT_FALSE(table.Find({0, 1}).has_value());
  EXPECT_FALSE(table.Find({30 * kPage, 31 * kPage}).has_value());
  table.Changed({19 * kPage, 20 * kPage});
  EXPECT_FALSE(table.Find({10 * kPage, 11 * kPage}).has_value());
  EXPECT_TRUE(table.Find({20 * kPage, 21 * kPage}).has_value());
}

TEST(ExtentTable, AChangeDuringALookIsNotMissed) {
  ExtentTable table;
  const Range range{10 * kPage, 20 * kPage};
  const ExtentTable::Probe touched(table, range);
  table.Changed({19 * kPage, 40 * kPage});
  const ExtentTable::Probe later(table, range);
  EXPECT_FALSE(table.Publish(touched, Uniform(range)));
  EXPECT_FALSE(table.Find(range).has_value());
  EXPECT_TRUE(table.Publish(later, Uniform(range)));
  table.Changed({20 * kPage, 21 * kPage});
  EXPECT_TRUE(table.Find(range).has_value());
}

TEST(ExtentTable, AMoveChangesBothEndsAndArmsTheTarget) {
  ExtentTable table;
  ASSERT_TRUE(Learn(table, {10 * kPage, 20 * kPage}));
  ASSERT_TRUE(Learn(table, {50 * kPage, 60 * kPage}));
  table.Moved({10 * kPage, 11 * kPage}, {59 * kPage, 70 * kPage});
  EXPECT_FALSE(table.Find({15 * kPage, 16 * kPage}).has_value());
  EXPECT_FALSE(table.Find({50 * kPage, 51 * kPage}).has_value());
  const auto armed = table.armed();
  ASSERT_EQ(armed.ranges.size(), 2U);
  EXPECT_EQ(armed.ranges[1], (Range{50 * kPage, 70 * kPage}));
}

TEST(ExtentTable, AClosedTableKnowsNothingAndLearnsNothing) {
  ExtentTable table;
  ASSERT_TRUE(Learn(table, {10 * kPage, 20 * kPage}));
  const ExtentTable::Probe probe(table, {0, kPage});
  table.Close();
  EXPECT_TRUE(table.closed());
  EXPECT_FALSE(table.Find({10 * kPage, 11 * kPage}).has_value());
  EXPECT_FALSE(table.Publish(probe, Uniform({0, kPage})));
}

TEST(ExtentTable, WhatIsNotUniformIsNotRemembered) {
  ExtentTable table;
  const ExtentTable::Probe probe(table, {0, 10 * kPage});
  WatchedExtent extent = Uniform({0, 10 * kPage});
  extent.uniform = false;
  EXPECT_TRUE(table.Publish(probe, extent));
  EXPECT_FALSE(table.Find({0, kPage}).has_value());
}

// Against a plain array: which page is known to lie in which extent.
TEST(ExtentTable, AgreesWithAModel) {
  constexpr std::size_t kPages = 64;
  const unsigned int seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  ExtentTable table;
  std::vector<Range> model(kPages);  // Empty: not known.
  const auto forget = [&model](Range range) {
    for (Range& known : model) {
      if (known.Overlaps(range)) known = {};
    }
  };
  for (int i = 0; i < 20000; ++i) {
    const std::uintptr_t first = random() % kPages;
    const std::uintptr_t last = first + random() % (kPages - first);
    const Range range{first * kPage, (last + 1) * kPage};
    switch (random() % 4) {
      case 0:
        forget(range);
        for (std::uintptr_t page = first; page <= last; ++page) model[page] = range;
        ASSERT_TRUE(Learn(table, range));
        break;
      case 1:
        forget(range);
        table.Changed(range);
        break;
      case 2:
        forget(range);
        table.Forget(range);
        break;
      default:
        const auto found = table.Find(range);
        const bool known = model[first].Contains(range);
        ASSERT_EQ(found.has_value(), known);
        if (known) {
          ASSERT_EQ(found->range, model[first]);
        }
    }
  }
}

TEST(ArmedHull, ContainsAllThatWasAddedInBoundedSpace) {
  const unsigned int seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  ArmedHull hull;
  std::vector<Range> added;
  for (int i = 0; i < 3000; ++i) {
    const std::uintptr_t start = (random() % 100000) * kPage;
    const Range range{start, start + (1 + random() % 4) * kPage};
    hull.Add(range);
    added.push_back(range);
    ASSERT_LE(hull.ranges().size(), ArmedHull::kCapacity);
    for (std::size_t at = 1; at < hull.ranges().size(); ++at) {
      ASSERT_LT(hull.ranges()[at - 1].end, hull.ranges()[at].start);
    }
  }
  for (const Range& range : added) {
    bool contained = false;
    for (const Range& of_hull : hull.ranges()) contained |= of_hull.Contains(range);
    ASSERT_TRUE(contained) << range.ToString();
  }
}

TEST(ArmedHull, ItsVersionMovesOnlyWhenItGrows) {
  ArmedHull hull;
  hull.Add({10, 20});
  const auto version = hull.version();
  hull.Add({12, 15});
  EXPECT_EQ(hull.version(), version);
  hull.Add({15, 25});
  EXPECT_NE(hull.version(), version);
  ASSERT_EQ(hull.ranges().size(), 1U);
  EXPECT_EQ(hull.ranges()[0], (Range{10, 25}));
}

}  // namespace
}  // namespace linchpin
