// Removals as contenders make them: what was registered is invalidated and deregistered, in batches
// or one at a time, while another thread hits, or alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/harness/crew.h"
#include "bench/harness/measure.h"
#include "bench/harness/options.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {

inline constexpr std::size_t kBatch = 64;

// Acquires regions [0, count), a batch at a time, invalidates and releases them; returns when all
// of them are deregistered, on whichever thread that happens.
template <typename Cache>
void RemoveInBatches(Cache& cache, const Regions& regions, std::size_t count) {
  std::vector<typename Cache::Claim> claims;
  claims.reserve(kBatch);
  for (std::size_t first = 0; first < count; first += kBatch) {
    const std::size_t end = std::min(first + kBatch, count);
    for (std::size_t i = first; i < end; ++i) claims.push_back(cache.Acquire(regions[i]));
    for (auto& claim : claims) cache.Invalidate(claim);
    for (auto& claim : claims) cache.Release(std::move(claim));
    claims.clear();
  }
  cache.Finish(regions.Span(0, count));
}

// Acquires, invalidates and releases one region; returns when it is deregistered. This is for
// caches that do so with the last release; others have an overload, beside the class.
template <typename Cache>
void RemoveNow(Cache& cache, const Request& request) {
  auto claim = cache.Acquire(request);
  cache.Invalidate(claim);
  cache.Release(std::move(claim));
}

// Regions [0, count) one after another, each deregistered before the next.
template <typename Cache>
void RemoveOneByOne(Cache& cache, const Regions& regions, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) RemoveNow(cache, regions[i]);
}

// Registrations that outlive what was called their removal would make it look cheap.
template <typename Cache>
void CheckRemoved(Cache& cache, std::size_t left) {
  const NoopDevice& device = cache.device();
  if (device.registrations() - device.deregistrations() != left) {
    Fail(std::string(Cache::kName) + " registered " + std::to_string(device.registrations()) +
         " and deregistered " + std::to_string(device.deregistrations()) + ", not all but " +
         std::to_string(left));
  }
}

// Calls `body` on one thread of `crew` while the other hits `hot` every `pace`, or without a pause.
// Returns: the ns of the body.
template <typename Cache>
double WhileAnotherHits(Cache& cache, const Request& hot, Crew& crew, std::chrono::nanoseconds pace,
                        const std::function<double()>& body) {
  std::atomic<bool> done = false;
  double ns = 0;
  crew.Run([&](std::size_t thread) {
    if (thread == 0) {
      ns = body();
      done.store(true);
      return;
    }
    while (!done.load(std::memory_order_relaxed)) {
      const auto due = std::chrono::steady_clock::now() + pace;
      cache.Hit(hot);
      while (pace.count() > 0 && std::chrono::steady_clock::now() < due) {
      }
    }
  });
  return ns;
}

}  // namespace linchpin::bench
