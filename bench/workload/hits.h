// Hits as contenders make them: one thread's, and several threads' at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/harness/crew.h"
#include "bench/harness/measure.h"
#include "bench/harness/options.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {

// Registers every region in the cache, and leaves it idle.
template <typename Cache>
void Fill(Cache& cache, const Regions& regions) {
  for (std::size_t i = 0; i < regions.size(); ++i) cache.Hit(regions[i]);
}

template <typename Cache>
void HitMany(Cache& cache, RequestStream& stream, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) cache.Hit(stream.Next());
}

// One thread that hits `cache`, which has been filled, in the order of `stream`.
template <typename Cache>
Contender Hits(std::string name, Cache& cache, RequestStream stream, const Options& options) {
  return Timed(std::move(name),
               {.run = Clocked([&cache, stream = std::move(stream)](std::size_t count) mutable {
                  HitMany(cache, stream, count);
                })},
               options);
}

// One thread for each of `streams`, all at once; the time of an operation is that of all threads
// together, so two threads that do not disturb each other halve it.
template <typename Cache>
Contender HitsAtOnce(std::string name, Cache& cache, std::vector<RequestStream> streams,
                     const Options& options) {
  const std::size_t threads = streams.size();
  const auto crew = std::make_shared<Crew>(threads);
  return Timed(
      std::move(name),
      {.run =
           [&cache, crew, threads, streams = std::move(streams)](std::size_t count) mutable {
             return crew->Run(
                 [&](std::size_t thread) { HitMany(cache, streams[thread], count / threads); });
           }},
      options);
}

}  // namespace linchpin::bench
