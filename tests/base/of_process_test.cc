// One object for each process, for its threads and for forked children.
#include "lib/base/of_process.h"

#include <latch>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "tests/testing/child.h"
#include "tests/testing/threads.h"

namespace linchpin {
namespace {

struct Thing {
  int value = 7;
};

constinit OfProcess<Thing> thing;
constinit OfProcess<Thing> contended;

TEST(OfProcess, IsOneForAllWhoAsk) {
  EXPECT_EQ(thing.Get().value, 7);
  thing.Get().value = 8;
  EXPECT_EQ(thing.Get().value, 8);
}

TEST(OfProcess, IsOneForThreadsThatAskFirstAtOnce) {
  constexpr std::size_t kThreads = 4;
  std::vector<Thing*> seen(kThreads);
  std::latch together(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      together.arrive_and_wait();
      seen[i] = &contended.Get();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Thing* one : seen) EXPECT_EQ(one, seen.front());
}

TEST(OfProcess, IsAnotherInAForkedChild) {
  thing.Get().value = 9;
  testing::AwaitSleepOfOtherThreads();
  for (const bool raw : {false, true}) {
    EXPECT_EQ(testing::RunInChild(
                  [] { return thing.Get().value == 7 ? "" : "the child has its parent's"; }, raw),
              "");
  }
  EXPECT_EQ(thing.Get().value, 9);
}

}  // namespace
}  // namespace linchpin
