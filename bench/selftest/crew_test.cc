// Threads that begin together.
#include "bench/harness/crew.h"

#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::bench {
namespace {

// Each thread waits to see the other: run one after the other, the first would wait in vain.
TEST(Crew, RunsItsThreadsAtOnce) {
  Crew crew(2);
  std::atomic<int> arrived = 0;
  std::vector<int> seen(2);
  const double ns = crew.Run([&](std::size_t thread) {
    ++arrived;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (arrived < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    seen[thread] = arrived;
  });
  EXPECT_EQ(seen, (std::vector<int>{2, 2}));
  EXPECT_GT(ns, 0);
}

TEST(Crew, RunsItsThreadsOnDifferentCpus) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  if (CPU_COUNT(&allowed) < 2) GTEST_SKIP() << "there is one CPU";
  Crew crew(2);
  for (int i = 0; i < 20; ++i) {
    std::vector<int> cpus(2);
    crew.Run([&](std::size_t thread) { cpus[thread] = sched_getcpu(); });
    EXPECT_NE(cpus[0], cpus[1]);
  }
}

TEST(Crew, RunsAgainAndAgainOnTheSameThreads) {
  Crew crew(1);
  std::set<std::thread::id> ids;
  for (int i = 0; i < 100; ++i) {
    crew.Run([&](std::size_t) { ids.insert(std::this_thread::get_id()); });
  }
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_EQ(ids.count(std::this_thread::get_id()), 0U);
}

}  // namespace
}  // namespace linchpin::bench
