// IovaSpace, against a list of ranges that is searched from its beginning.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "linchpin/dma_map.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kGranule = 4096;
constexpr std::uint64_t kTop = std::numeric_limits<std::uint64_t>::max();

std::shared_ptr<IovaSpace> SpaceOf(std::uint64_t granules, std::uint64_t first = 0) {
  return IovaSpace::Create(
             {.first = first, .last = first + granules * kGranule - 1, .granule = kGranule})
      .value();
}

TEST(IovaSpace, RefusesOptionsThatContradictEachOther) {
  for (const IovaSpace::Options& options : {
           IovaSpace::Options{.first = 1, .last = 4095, .granule = 4096},
           IovaSpace::Options{.first = 0, .last = 4096, .granule = 4096},
           IovaSpace::Options{.first = 8192, .last = 4095, .granule = 4096},
           IovaSpace::Options{.first = 0, .last = 4095, .granule = 0},
           IovaSpace::Options{.first = 0, .last = 4095, .granule = 3},
           IovaSpace::Options{.first = 0, .last = kTop, .granule = 4096},
       }) {
    EXPECT_EQ(IovaSpace::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(IovaSpace, GivesTheSmallestRangeThatIsLargeEnough) {
  const auto space = SpaceOf(100);
  std::vector<std::uint64_t> taken;
  for (const std::uint64_t granules : {10U, 1U, 4U, 1U, 7U, 1U}) {
    taken.push_back(space->Allocate(granules * kGranule).value());
  }
  for (const std::size_t i : {0U, 2U, 4U}) ASSERT_TRUE(space->Free(taken[i]).ok());
  space->CheckInvariantsForTest();
  EXPECT_EQ(space->Allocate(5 * kGranule).value(), taken[4]);
  EXPECT_EQ(space->Allocate(kGranule + 1).value(), taken[4] + 5 * kGranule);
  EXPECT_EQ(space->Allocate(4 * kGranule).value(), taken[2]);
  EXPECT_EQ(space->Allocate(3 * kGranule).value(), taken[0]);
}

TEST(IovaSpace, KeepsBelowTheLastAddressAskedFor) {
  const auto space = SpaceOf(16);
  const std::uint64_t low = space->Allocate(4 * kGranule).value();
  ASSERT_TRUE(space->Allocate(2 * kGranule).ok());
  ASSERT_TRUE(space->Free(low).ok());
  EXPECT_EQ(space->Allocate(4 * kGranule, 4 * kGranule - 1).value(), low);
  const auto none = space->Allocate(kGranule, 4 * kGranule - 1).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(none.message(), HasSubstr("largest free range"));
}

TEST(IovaSpace, WhatIsNotGivenOutCannotBeGivenBack) {
  const auto space = SpaceOf(4);
  const std::uint64_t taken = space->Allocate(2 * kGranule).value();
  EXPECT_EQ(space->Free(taken + kGranule).code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(space->Free(taken).ok());
  EXPECT_EQ(space->Free(taken).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(space->bytes_allocated(), 0U);
  EXPECT_EQ(space->Allocate(0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(space->Allocate(kTop).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(IovaSpace, UsesTheLastAddressesOfAll) {
  const auto space =
      IovaSpace::Create({.first = 0 - 4 * kGranule, .last = kTop, .granule = kGranule}).value();
  const std::uint64_t all = space->Allocate(4 * kGranule).value();
  EXPECT_EQ(all, 0 - 4 * kGranule);
  space->CheckInvariantsForTest();
  ASSERT_TRUE(space->Free(all).ok());
  space->CheckInvariantsForTest();
}

// Free ranges, found again each time from what is taken.
std::uint64_t NaiveBestFit(const std::map<std::uint64_t, std::uint64_t>& taken,
                           std::uint64_t granules, std::uint64_t wanted) {
  std::uint64_t best = kTop;
  std::uint64_t best_size = kTop;
  std::uint64_t at = 0;
  const auto consider = [&](std::uint64_t end) {
    const std::uint64_t size = end - at;
    if (size >= wanted && size < best_size) {
      best = at;
      best_size = size;
    }
  };
  for (const auto& [first, bytes] : taken) {
    consider(first);
    at = first + bytes;
  }
  consider(granules * kGranule);
  return best;
}

TEST(IovaSpace, AgreesWithTheModelAndLosesNothing) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    std::mt19937_64 random(seed);
    constexpr std::uint64_t kGranules = 300;
    const auto space = SpaceOf(kGranules);
    std::map<std::uint64_t, std::uint64_t> taken;
    for (int step = 0; step < 3000; ++step) {
      if (random() % 2 == 0 || taken.empty()) {
        const std::uint64_t bytes = (1 + random() % 20) * kGranule;
        const auto address = space->Allocate(bytes - random() % kGranule);
        const std::uint64_t expected = NaiveBestFit(taken, kGranules, bytes);
        ASSERT_EQ(address.ok() ? *address : kTop, expected) << "seed " << seed;
        if (address.ok()) taken.emplace(*address, bytes);
      } else {
        auto victim = taken.begin();
        std::advance(victim, static_cast<std::ptrdiff_t>(random() % taken.size()));
        ASSERT_TRUE(space->Free(victim->first).ok());
        taken.erase(victim);
      }
      if (step % 100 == 0) space->CheckInvariantsForTest();
    }
    for (const auto& [first, bytes] : taken) ASSERT_TRUE(space->Free(first).ok());
    space->CheckInvariantsForTest();
    ASSERT_EQ(space->bytes_allocated(), 0U);
    ASSERT_TRUE(space->Allocate(kGranules * kGranule).ok()) << "seed " << seed;
  }
}

TEST(IovaSpace, ServesThreadsAtOnce) {
  const auto space = SpaceOf(1000);
  const auto work = [&space](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::uint64_t> mine;
    for (int i = 0; i < 2000; ++i) {
      if (random() % 2 == 0) {
        const auto address = space->Allocate((1 + random() % 9) * kGranule);
        if (address.ok()) mine.push_back(*address);
      } else if (!mine.empty()) {
        ASSERT_TRUE(space->Free(mine.back()).ok());
        mine.pop_back();
      }
    }
    for (const std::uint64_t address : mine) ASSERT_TRUE(space->Free(address).ok());
  };
  std::thread other(work, 1);
  work(2);
  other.join();
  space->CheckInvariantsForTest();
  EXPECT_EQ(space->bytes_allocated(), 0U);
}

}  // namespace
}  // namespace linchpin
