// Removals (acquire, invalidate, release, until deregistered): Linchpin, which defers and batches
// them, against caches that remove on the spot.
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/contenders/btree_contender.h"
#include "bench/contenders/linchpin_contender.h"
#include "bench/contenders/map_contender.h"
#include "bench/contenders/ucx_contender.h"
#include "bench/harness/crew.h"
#include "bench/harness/suite.h"
#include "bench/workload/regions.h"
#include "bench/workload/removals.h"

namespace linchpin::bench {
namespace {

constexpr std::size_t kRegionsMost = 65'536;

struct Workload {
  std::string name;
  bool batched = true;
  // How often another thread hits; absent: there is none; 0: without a pause.
  std::optional<std::chrono::nanoseconds> hits_every;
};

// What all contenders of a scenario share.
struct Stage {
  const Workload& workload;
  const Options& options;
  const Regions regions;
  const Regions hot = Regions::Strided(1);  // Not among the regions that are removed.
  Crew crew{2};
};

template <typename Cache>
Contender Removing(Cache& cache, Stage& stage) {
  const std::string name(Cache::kName);
  if (!Cache::kAbsent.empty()) return {name, {}, std::string(Cache::kAbsent)};
  cache.Hit(stage.hot[0]);
  const auto remove = Clocked([&cache, &stage](std::size_t count) {
    if (stage.workload.batched) {
      RemoveInBatches(cache, stage.regions, count);
    } else {
      RemoveOneByOne(cache, stage.regions, count);
    }
  });
  const auto run = [&cache, &stage, remove](std::size_t count) {
    if (!stage.workload.hits_every) return remove(count);
    return WhileAnotherHits(cache, stage.hot[0], stage.crew, *stage.workload.hits_every,
                            [&] { return remove(count); });
  };
  const auto prepare = [&cache, &stage](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) cache.Hit(stage.regions[i]);
  };
  return Timed(name,
               {.run = run,
                .prepare = prepare,
                .finish = [&cache] { CheckRemoved(cache, 1); },
                .operations_max = stage.regions.size()},
               stage.options);
}

std::vector<Row> Run(const Workload& workload, const Options& options) {
  Stage stage{.workload = workload,
              .options = options,
              .regions = Regions::Strided(options.Regions(kRegionsMost))};
  LinchpinContender linchpin;
  UcxContender ucx;
  MapContender map;
  BtreeContender btree;
  return CompareFirst(workload.name, RunRounds({Removing(linchpin, stage), Removing(ucx, stage),
                                                Removing(map, stage), Removing(btree, stage)},
                                               options.rounds));
}

Scenario ScenarioOf(const Workload& workload) {
  return {workload.name, [workload](const Options& options) { return Run(workload, options); }};
}

int Main(int argc, char** argv) {
  const Suite suite = {
      .name = "removal_bench",
      .purpose = "The time to remove a region: acquire, invalidate, release, until deregistered",
      .scenarios = {ScenarioOf({.name = "batched, another thread hitting every us",
                                .hits_every = std::chrono::microseconds(1)}),
                    ScenarioOf({.name = "batched, another thread hitting without a pause",
                                .hits_every = std::chrono::nanoseconds(0)}),
                    ScenarioOf({.name = "batched, alone", .hits_every = {}}),
                    ScenarioOf({.name = "one by one, synchronous, another thread hitting every us",
                                .batched = false,
                                .hits_every = std::chrono::microseconds(1)}),
                    ScenarioOf({.name = "one by one, synchronous, alone",
                                .batched = false,
                                .hits_every = {}})},
      .notes = {
          "one by one, Linchpin is called as acquire, release, Fence: it defers removals, so "
          "that waiting for each is expected to lose",
          "UCX's lock and std::shared_mutex prefer readers: where another thread hits without "
          "a pause, removals hardly get a turn"}};
  return RunSuite(suite, argc, argv);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  return linchpin::bench::Main(argc, argv);
}
