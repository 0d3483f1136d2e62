// A thread that hits at a fixed pace and notes how long each hit took: for what happens to hits
// while something else goes on in the cache.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "bench/harness/histogram.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {

inline constexpr std::chrono::microseconds kPace{10};

// What a run of paced hits shows, as the metrics of a contender.
struct PacedMetrics {
  enum Index : std::size_t {
    kHit,             // The 99.9th percentile of a hit's own time.
    kLongestHit,      // The longest of them.
    kFromDue,         // The 99.9th percentile of the time from when a hit was due. A stall delays
                      // all that were due in it: it counts with its length, not as one hit.
    kLongestFromDue,  // The longest of them; the scheduler's stalls between hits are in it too.
  };
};

// Hits `request` every kPace until `done`. A hit that is late is made at once, and the next too.
// Returns: PacedMetrics, in ns.
template <typename Cache>
std::vector<double> HitAtPace(Cache& cache, const Request& request,
                              const std::function<bool()>& done) {
  using Clock = std::chrono::steady_clock;
  const auto ns = [](Clock::duration time) {
    return static_cast<std::uint64_t>(std::chrono::nanoseconds(time).count());
  };
  constexpr double kTail = 0.999;
  Histogram own;
  Histogram from_due;
  for (auto due = Clock::now(); own.total() == 0 || !done(); due += kPace) {
    while (Clock::now() < due) {
    }
    const auto start = Clock::now();
    cache.Hit(request);
    const auto end = Clock::now();
    own.Add(ns(end - start));
    from_due.Add(ns(end - due));
  }
  return {static_cast<double>(own.Percentile(kTail)), static_cast<double>(own.largest()),
          static_cast<double>(from_due.Percentile(kTail)), static_cast<double>(from_due.largest())};
}

}  // namespace linchpin::bench
