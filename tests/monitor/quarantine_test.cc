// The quarantine: how long, and what when there is no place for more.
#include "lib/monitor/quarantine.h"

#include "gtest/gtest.h"

namespace linchpin {
namespace {

using std::chrono::milliseconds;

const Quarantine::Clock::time_point kNow{std::chrono::hours(1)};

Range Page(std::uintptr_t number) {
  return {number * 4096, (number + 1) * 4096};
}

TEST(Quarantine, LastsItsTimeAndNoLonger) {
  Quarantine quarantine;
  quarantine.Add(Page(7), kNow);
  EXPECT_TRUE(quarantine.Overlaps(Page(7), kNow));
  EXPECT_TRUE(quarantine.Overlaps({0, 1 << 20}, kNow + Quarantine::kLasts - milliseconds(1)));
  EXPECT_FALSE(quarantine.Overlaps(Page(7), kNow + Quarantine::kLasts));
  EXPECT_FALSE(quarantine.Overlaps(Page(6), kNow));
  EXPECT_FALSE(quarantine.Overlaps(Page(8), kNow));
}

TEST(Quarantine, BeginsAnewWhenDiscardedAgain) {
  Quarantine quarantine;
  quarantine.Add(Page(7), kNow);
  quarantine.Add(Page(7), kNow + milliseconds(900));
  EXPECT_TRUE(quarantine.Overlaps(Page(7), kNow + milliseconds(1800)));
}

TEST(Quarantine, WithoutAPlaceItCoversMoreNeverLess) {
  Quarantine quarantine;
  for (std::uintptr_t i = 0; i < 2 * Quarantine::kCapacity; ++i) {
    quarantine.Add(Page(10 * i), kNow);
  }
  for (std::uintptr_t i = 0; i < 2 * Quarantine::kCapacity; ++i) {
    EXPECT_TRUE(quarantine.Overlaps(Page(10 * i), kNow));
  }
  EXPECT_FALSE(quarantine.Overlaps(Page(30 * Quarantine::kCapacity), kNow));
}

TEST(Quarantine, WhatIsOverMakesPlace) {
  Quarantine quarantine;
  for (std::uintptr_t i = 0; i < Quarantine::kCapacity; ++i) quarantine.Add(Page(10 * i), kNow);
  const auto later = kNow + Quarantine::kLasts;
  quarantine.Add(Page(5), later);
  EXPECT_TRUE(quarantine.Overlaps(Page(5), later));
  EXPECT_FALSE(quarantine.Overlaps(Page(6), later));
}

}  // namespace
}  // namespace linchpin
