// A thread that hits at a fixed pace and notes how long each hit took: for what happens to hits
// while something else goes on in the cache.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

#include "bench/harness/ratio.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {

inline constexpr std::chrono::microseconds kPace{10};

// What a run of paced hits shows, as the metrics of a contender.
struct PacedMetrics {
  enum Index : std::size_t {
    kOwnTime,  // The 99.9th percentile of a hit's own time.
    kFromDue,  // The 99.9th percentile of the time from when a hit was due. A stall delays all the
               // hits that were due in it, and counts with its length; in own times it is one hit.
    kLongest,  // The longest time from when a hit was due.
  };
};

// Hits `request` every kPace until `done`. A hit that is late is made at once, and the next too.
// Returns: PacedMetrics, in ns.
template <typename Cache>
std::vector<double> HitAtPace(Cache& cache, const Request& request,
                              const std::function<bool()>& done) {
  using Clock = std::chrono::steady_clock;
  const auto ns = [](Clock::duration time) {
    return std::chrono::duration<double, std::nano>(time).count();
  };
  constexpr double kTail = 0.999;
  std::vector<double> own;
  std::vector<double> from_due;
  for (auto due = Clock::now(); own.empty() || !done(); due += kPace) {
    while (Clock::now() < due) {
    }
    const auto start = Clock::now();
    cache.Hit(request);
    const auto end = Clock::now();
    own.push_back(ns(end - start));
    from_due.push_back(ns(end - due));
  }
  return {Percentile(own, kTail), Percentile(from_due, kTail), Percentile(from_due, 1.0)};
}

}  // namespace linchpin::bench
