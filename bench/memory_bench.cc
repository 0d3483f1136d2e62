// The memory that a cache takes for each region, at a million of them: by what becomes resident,
// each contender in a process of its own.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

#include "bench/contenders/btree_contender.h"
#include "bench/contenders/linchpin_contender.h"
#include "bench/contenders/map_contender.h"
#include "bench/contenders/ucx_contender.h"
#include "bench/harness/child.h"
#include "bench/harness/crew.h"
#include "bench/harness/suite.h"
#include "bench/workload/hits.h"
#include "bench/workload/regions.h"
#include "bench/workload/removals.h"

namespace linchpin::bench {
namespace {

constexpr std::size_t kMillion = 1'000'000;
constexpr int kRoundsMost = 3;  // Memory does not depend on the neighbours.

// The metrics of a contender, all in bytes a region.
enum Metric : std::size_t {
  kRecords,     // All regions idle, without what a thread's hits add.
  kTwoThreads,  // With what the hits of two threads add: in Linchpin, their reference columns.
  kLeft,        // After every region has been deregistered.
};

struct Layout {
  std::string name;
  Regions (*make)(std::size_t) = nullptr;
  double goal = 0;  // Bytes a region, of design.md's table.
};

template <typename Cache>
void Clear(Cache& cache, const Regions& regions) {
  for (std::size_t i = 0; i < regions.size(); ++i) RemoveNow(cache, regions[i]);
}

void Clear(LinchpinContender& linchpin, const Regions&) {
  linchpin.cache().Trim(0);
  const NoopDevice& device = linchpin.device();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (device.deregistrations() != device.registrations()) {
    if (std::chrono::steady_clock::now() > deadline) Fail("Trim(0) left regions registered");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// To be run in a process of its own.
template <typename Cache>
std::vector<double> Measure(const Regions& regions) {
  Crew crew(2);
  const double before = ResidentBytes();
  Cache cache;
  // Returns the growth since `before`, a region.
  const auto after = [&](std::size_t who) {
    crew.Run([&](std::size_t thread) {
      if (thread == who) Fill(cache, regions);
    });
    return (ResidentBytes() - before) / static_cast<double>(regions.size());
  };
  const double filled = after(0);
  const double second_hit = after(1);
  const double both_hit = after(0);
  // What the filling thread's first hits add to its misses, the second thread's hits added too. The
  // rest of the second's column, the misses had touched already.
  const double column_of_filling = (second_hit - filled) - (both_hit - second_hit);
  Clear(cache, regions);
  const double left = (ResidentBytes() - before) / static_cast<double>(regions.size());
  return {filled - column_of_filling, both_hit, left};
}

template <typename Cache>
Contender Measuring(const Regions& regions) {
  return {std::string(Cache::kName),
          [&regions] { return RunInChild([&] { return Measure<Cache>(regions); }); },
          std::string(Cache::kAbsent)};
}

std::vector<Row> Run(const Layout& layout, const Options& options) {
  const Regions regions = layout.make(options.Regions(kMillion));
  const std::vector<Samples> samples =
      RunRounds({Measuring<LinchpinContender>(regions), Measuring<UcxContender>(regions),
                 Measuring<MapContender>(regions), Measuring<BtreeContender>(regions)},
                std::min(options.rounds, kRoundsMost));
  const Samples& linchpin = samples[0];
  const Comparison records{.metric = kRecords, .unit = "bytes"};
  std::vector<Row> rows = CompareFirst(layout.name, samples, records);
  rows.push_back(CompareWithNumber(layout.name, linchpin, "the goal", layout.goal, records));
  const auto against_own = [&](const std::string& what, Metric metric) {
    const double own = Percentile(linchpin.metrics[kRecords], 0.5);
    rows.push_back(CompareWithNumber(layout.name + ": " + what, linchpin, "Linchpin, idle", own,
                                     {.metric = metric, .unit = "bytes"}));
  };
  against_own("with the columns of 2 threads", kTwoThreads);
  against_own("left after Trim(0)", kLeft);
  return rows;
}

Scenario ScenarioOf(const Layout& layout) {
  return {layout.name, [layout](const Options& options) { return Run(layout, options); }};
}

int Main(int argc, char** argv) {
  const Suite suite = {
      .name = "memory_bench",
      .purpose = "The bytes that a cache takes for each region, at 1M regions",
      .scenarios = {ScenarioOf({"1M page-aligned, 4 KiB", Regions::Strided, 160}),
                    ScenarioOf({"1M mixed, 4 KiB-64 MiB", Regions::Mixed, 400}),
                    ScenarioOf({"1M unaligned, 65,520 B", Regions::Unaligned, 400})},
      .notes = {"bytes a region stand where other benchmarks have ns; at most 3 rounds"}};
  return RunSuite(suite, argc, argv);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  return linchpin::bench::Main(argc, argv);
}
