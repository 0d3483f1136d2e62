// Hits (acquire + release): Linchpin against UCX's ucs_rcache and the two maps that programs write
// for themselves.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/contenders/btree_contender.h"
#include "bench/contenders/linchpin_contender.h"
#include "bench/contenders/map_contender.h"
#include "bench/contenders/ucx_contender.h"
#include "bench/harness/suite.h"
#include "bench/workload/hits.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {
namespace {

constexpr std::uint32_t kSeed = 1;

// Where a scenario's hits go.
struct Workload {
  std::string name;
  Regions (*make)(std::size_t) = nullptr;
  std::size_t count = 1;
  Freshness freshness = Freshness::kSynchronised;
  std::size_t threads = 1;
};

RequestStream StreamFor(const Regions& regions, std::uint32_t seed) {
  return regions.size() == 1 ? RequestStream::Hot(regions, 0)
                             : RequestStream::Random(regions, seed);
}

std::string LinchpinName(const Workload& workload) {
  return workload.freshness == Freshness::kStrict ? "Linchpin kStrict" : "Linchpin kSynchronised";
}

// Measures `cache` with as many threads as the workload has.
template <typename Cache>
Contender Hitting(std::string name, Cache& cache, const Regions& regions, std::size_t threads,
                  const Options& options) {
  if (!Cache::kAbsent.empty()) return {std::move(name), {}, std::string(Cache::kAbsent)};
  Fill(cache, regions);
  if (threads == 1) {
    return Hits(std::move(name), cache, StreamFor(regions, kSeed), options);
  }
  std::vector<RequestStream> streams;
  for (std::size_t i = 0; i < threads; ++i) {
    streams.push_back(StreamFor(regions, kSeed + static_cast<std::uint32_t>(i)));
  }
  return HitsAtOnce(std::move(name), cache, std::move(streams), options);
}

// A region registered twice would have been a miss in the middle of what is called hits.
template <typename Cache>
void CheckAllHit(Cache& cache, const Regions& regions) {
  if (!Cache::kAbsent.empty()) return;
  if (cache.device().registrations() != regions.size()) {
    Fail(std::string(Cache::kName) + " registered " +
         std::to_string(cache.device().registrations()) + " times for " +
         std::to_string(regions.size()) + " regions: not all were hits");
  }
}

std::vector<Row> Run(const Workload& workload, const Options& options) {
  const Regions regions = workload.make(options.Regions(workload.count));
  LinchpinContender linchpin(workload.freshness);
  UcxContender ucx;
  MapContender map;
  BtreeContender btree;
  const std::size_t threads = workload.threads;
  const auto name = [](const auto& cache) { return std::string(cache.kName); };
  std::vector<Contender> contenders = {
      Hitting(LinchpinName(workload), linchpin, regions, threads, options),
      Hitting(name(ucx), ucx, regions, threads, options),
      Hitting(name(map), map, regions, threads, options),
      Hitting(name(btree), btree, regions, threads, options)};
  if (threads > 1) {
    contenders.push_back(
        Hitting(LinchpinName(workload) + ", 1 thread", linchpin, regions, 1, options));
  }
  const std::vector<Samples> samples = RunRounds(contenders, options.rounds);
  CheckAllHit(linchpin, regions);
  CheckAllHit(ucx, regions);
  CheckAllHit(map, regions);
  CheckAllHit(btree, regions);
  return CompareFirst(workload.name, samples);
}

Scenario ScenarioOf(const Workload& workload) {
  return {workload.name, [workload](const Options& options) { return Run(workload, options); }};
}

int Main(int argc, char** argv) {
  constexpr std::size_t kMillion = 1'000'000;
  const Suite suite = {
      .name = "hit_bench",
      .purpose = "The time of a hit, acquire + release, against other caches",
      .scenarios = {ScenarioOf({.name = "hot", .make = Regions::Strided}),
                    ScenarioOf({.name = "random 10k", .make = Regions::Strided, .count = 10'000}),
                    ScenarioOf({.name = "random 1M", .make = Regions::Strided, .count = kMillion}),
                    ScenarioOf({.name = "mixed 4 KiB-64 MiB, random 10k",
                                .make = Regions::Mixed,
                                .count = 10'000}),
                    ScenarioOf({.name = "hot, 2 threads", .make = Regions::Strided, .threads = 2}),
                    ScenarioOf({.name = "random 10k, 2 threads",
                                .make = Regions::Strided,
                                .count = 10'000,
                                .threads = 2}),
                    ScenarioOf({.name = "strict, hot",
                                .make = Regions::Strided,
                                .freshness = Freshness::kStrict}),
                    ScenarioOf({.name = "strict, random 10k",
                                .make = Regions::Strided,
                                .count = 10'000,
                                .freshness = Freshness::kStrict})},
      .notes = {"UCX's single-threaded lookup_unsafe is not in UCX 1.13, so it has no rows"}};
  return RunSuite(suite, argc, argv);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  return linchpin::bench::Main(argc, argv);
}
