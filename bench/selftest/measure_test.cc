// Rounds, and blocks of operations.
#include "bench/harness/measure.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::bench {
namespace {

TEST(RunRounds, RunsEachContenderOnceARound) {
  std::string runs;
  const auto contender = [&runs](char name) {
    return Contender{std::string(1, name), [&runs, name] {
                       runs += name;
                       return std::vector<double>{static_cast<double>(runs.size())};
                     }};
  };
  const std::vector<Samples> samples = RunRounds({contender('a'), contender('b')}, 20);
  ASSERT_EQ(runs.size(), 40U);
  for (std::size_t i = 0; i < runs.size(); i += 2) EXPECT_NE(runs[i], runs[i + 1]) << "round " << i;
  EXPECT_EQ(samples[0].metrics[0].size(), 20U);
  EXPECT_EQ(samples[1].metrics[0].size(), 20U);
  // Shuffled: neither always comes first.
  EXPECT_NE(runs.find("ab"), std::string::npos);
  EXPECT_NE(runs.find("ba"), std::string::npos);
}

TEST(RunRounds, DoesNotRunWhatIsAbsent) {
  const std::vector<Samples> samples = RunRounds({{"gone", {}, "not here"}}, 3);
  EXPECT_EQ(samples[0].absent, "not here");
  EXPECT_TRUE(samples[0].metrics.empty());
}

TEST(Timed, GivesTheTimeOfOneOperation) {
  const Contender contender =
      Timed("seven", {.run = [](std::size_t count) { return 7.0 * static_cast<double>(count); }},
            Options{});
  EXPECT_EQ(contender.round(), std::vector<double>{7.0});
}

TEST(Timed, RunsABlockOfTheAskedLength) {
  double longest = 0;
  const Contender contender = Timed("one ns",
                                    {.run =
                                         [&longest](std::size_t count) {
                                           longest = static_cast<double>(count);
                                           return longest;
                                         }},
                                    Options{});
  contender.round();
  EXPECT_DOUBLE_EQ(longest, 20e6);
}

TEST(Timed, StopsAtTheMostOperationsThereAre) {
  std::size_t most = 0;
  const Contender contender = Timed("bounded",
                                    {.run =
                                         [&most](std::size_t count) {
                                           most = std::max(most, count);
                                           return 1.0;
                                         },
                                     .operations_max = 100},
                                    Options{});
  contender.round();
  EXPECT_EQ(most, 100U);
}

TEST(Timed, PreparesAndFinishesAroundEachBlock) {
  std::string calls;
  const Contender contender = Timed("ordered",
                                    {.run =
                                         [&calls](std::size_t) {
                                           calls += "r";
                                           return 1e9;
                                         },
                                     .prepare = [&calls](std::size_t) { calls += "p"; },
                                     .finish = [&calls] { calls += "f"; }},
                                    Options{});
  calls.clear();
  contender.round();
  EXPECT_EQ(calls, "prf");
}

TEST(Clocked, CountsTheBodysTime) {
  const auto run =
      Clocked([](std::size_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); });
  EXPECT_GE(run(2), 2e6);
}

}  // namespace
}  // namespace linchpin::bench
