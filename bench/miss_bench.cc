// Misses with a registrar that does nothing, so that only the caches' own work is compared: against
// UCX's ucs_rcache and the two maps.
#include <cstddef>
#include <string>
#include <vector>

#include "bench/contenders/btree_contender.h"
#include "bench/contenders/linchpin_contender.h"
#include "bench/contenders/map_contender.h"
#include "bench/contenders/ucx_contender.h"
#include "bench/harness/suite.h"
#include "bench/workload/regions.h"
#include "bench/workload/removals.h"

namespace linchpin::bench {
namespace {

constexpr std::size_t kRegionsMost = 65'536;

enum class Work {
  kMiss,             // Miss and release; the removals are not timed.
  kMissThenRemoval,  // All misses and releases, then all removals, in batches.
  kMissAndRemoval,   // A batch of misses, their removals, and the next batch.
};

// What all contenders of a scenario share.
struct Stage {
  Work work;
  const Options& options;
  const Regions regions;
};

template <typename Cache>
void RunWork(Cache& cache, const Stage& stage, std::size_t count) {
  if (stage.work == Work::kMissAndRemoval) {
    RemoveInBatches(cache, stage.regions, count);  // Its acquires are the misses.
    return;
  }
  for (std::size_t i = 0; i < count; ++i) cache.Hit(stage.regions[i]);
  if (stage.work == Work::kMissThenRemoval) RemoveInBatches(cache, stage.regions, count);
}

template <typename Cache>
Contender Missing(Cache& cache, const Stage& stage) {
  const std::string name(Cache::kName);
  if (!Cache::kAbsent.empty()) return {name, {}, std::string(Cache::kAbsent)};
  return Timed(name,
               {.run = Clocked([&](std::size_t count) { RunWork(cache, stage, count); }),
                .finish =
                    [&] {
                      if (stage.work == Work::kMiss) {
                        RemoveInBatches(cache, stage.regions, stage.regions.size());
                      }
                      CheckRemoved(cache, 0);
                    },
                .operations_max = stage.regions.size()},
               stage.options);
}

std::vector<Row> Run(const std::string& name, Work work, const Options& options) {
  const Stage stage{
      .work = work, .options = options, .regions = Regions::Strided(options.Regions(kRegionsMost))};
  LinchpinContender linchpin;
  UcxContender ucx;
  MapContender map;
  BtreeContender btree;
  return CompareFirst(name, RunRounds({Missing(linchpin, stage), Missing(ucx, stage),
                                       Missing(map, stage), Missing(btree, stage)},
                                      options.rounds));
}

Scenario ScenarioOf(const std::string& name, Work work) {
  return {name, [name, work](const Options& options) { return Run(name, work, options); }};
}

int Main(int argc, char** argv) {
  const Suite suite = {
      .name = "miss_bench",
      .purpose = "The time of a miss with a registrar that does nothing",
      .scenarios = {ScenarioOf("miss + release + removal", Work::kMissAndRemoval),
                    ScenarioOf("all misses + releases, then a hit and removal of each",
                               Work::kMissThenRemoval),
                    ScenarioOf("miss + release", Work::kMiss)},
      .notes = {"the order is UCX's, which removes what it holds: acquire, invalidate, release; 64 "
                "at a time"}};
  return RunSuite(suite, argc, argv);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  return linchpin::bench::Main(argc, argv);
}
