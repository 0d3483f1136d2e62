// Hits as contenders make them, and what their time is the time of.
#include "bench/workload/hits.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::bench {
namespace {

// Counts the hits of each region. Slow: beside them, the waking of a thread is short.
struct CountingCache {
  void Hit(const Request& request) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    for (std::size_t i = 0; i < regions.size(); ++i) {
      if (regions[i].address == request.address) ++hits[i];
    }
  }
  const Regions regions = Regions::Strided(2);
  std::array<std::atomic<std::uint64_t>, 2> hits{};
};

TEST(HitsAtOnce, CountsTheOperationsOfAllThreads) {
  CountingCache cache;
  Options quick;
  quick.quick = true;
  const Contender contender = HitsAtOnce(
      "two", cache, {RequestStream::Hot(cache.regions, 0), RequestStream::Hot(cache.regions, 1)},
      quick);
  cache.hits[0] = cache.hits[1] = 0;
  const auto start = std::chrono::steady_clock::now();
  const std::vector<double> ns = contender.round();
  const std::chrono::duration<double, std::nano> passed = std::chrono::steady_clock::now() - start;
  EXPECT_GT(cache.hits[0], 0U);
  EXPECT_EQ(cache.hits[0], cache.hits[1]) << "each thread makes half of them";
  // By one thread's operations alone, the time of each would be twice this.
  const auto all = static_cast<double>(cache.hits[0] + cache.hits[1]);
  EXPECT_LE(ns[0] * all, passed.count());
}

}  // namespace
}  // namespace linchpin::bench
