// What a hit feels of others: of a registration that takes 100 ms, and of a cache that grows from 1
// to 4 million regions. Each against the same hits alone, in the same run, because a scheduler
// stalls threads too.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "bench/contenders/linchpin_contender.h"
#include "bench/contenders/ucx_contender.h"
#include "bench/harness/suite.h"
#include "bench/workload/paced_hits.h"
#include "bench/workload/regions.h"
#include "bench/workload/removals.h"

namespace linchpin::bench {
namespace {

using Clock = std::chrono::steady_clock;

// Hits while `disturb` runs on another thread, until it returns.
template <typename Cache>
std::vector<double> HitsDuring(Cache& cache, const Request& hot,
                               const std::function<void()>& disturb) {
  std::atomic<bool> done = false;
  std::thread other([&] {
    disturb();
    done.store(true);
  });
  std::vector<double> metrics = HitAtPace(cache, hot, [&] { return done.load(); });
  other.join();
  return metrics;
}

template <typename Cache>
std::vector<double> HitsAlone(Cache& cache, const Request& hot, Clock::duration time) {
  const auto end = Clock::now() + time;
  return HitAtPace(cache, hot, [end] { return Clock::now() >= end; });
}

// A contender and the same alone; where its cache is absent, two that say so.
using Pair = std::vector<Contender>;

template <typename Cache>
Pair AbsentPair() {
  const std::string name(Cache::kName);
  const std::string absent(Cache::kAbsent);
  return {{name, {}, absent}, {name + ", hits alone", {}, absent}};
}

template <typename Cache>
Pair Registering(Cache& cache, const Regions& hot, const Regions& slow, const Options& options) {
  if (!Cache::kAbsent.empty()) return AbsentPair<Cache>();
  const std::string name(Cache::kName);
  static constexpr int kRegistrations = 3;  // A round. Static: the lambdas outlive this call.
  const auto delay = std::chrono::milliseconds(options.quick ? 5 : 100);
  cache.device().SlowDown(slow.Span(0, 1), delay);
  cache.Hit(hot[0]);
  const auto disturbed = [&] {
    return HitsDuring(cache, hot[0], [&] {
      for (int i = 0; i < kRegistrations; ++i) RemoveNow(cache, slow[0]);
    });
  };
  const auto alone = [&, delay] { return HitsAlone(cache, hot[0], kRegistrations * delay); };
  return {{name, disturbed}, {name + ", hits alone", alone}};
}

// Registers all regions but the first `filled`, a part of them in each round.
template <typename Cache>
Pair Growing(Cache& cache, const Regions& regions, std::size_t filled, const Options& options) {
  if (!Cache::kAbsent.empty()) return AbsentPair<Cache>();
  const std::string name(Cache::kName);
  for (std::size_t i = 0; i < filled; ++i) cache.Hit(regions[i]);
  struct Progress {
    std::size_t next = 0;
    Clock::duration time = std::chrono::milliseconds(100);  // Of the last round.
  };
  const auto progress = std::make_shared<Progress>(Progress{.next = filled});
  const std::size_t part = (regions.size() - filled) / static_cast<std::size_t>(options.rounds);
  const auto disturbed = [&, progress, part] {
    return HitsDuring(cache, regions[0], [&] {
      const auto start = Clock::now();
      const std::size_t end = std::min(progress->next + part, regions.size());
      for (; progress->next < end; ++progress->next) cache.Hit(regions[progress->next]);
      progress->time = Clock::now() - start;
    });
  };
  const auto alone = [&, progress] { return HitsAlone(cache, regions[0], progress->time); };
  return {{name, disturbed}, {name + ", hits alone", alone}};
}

// `linchpin` and `ucx` in turn, all four interleaved.
std::vector<Row> RowsOf(const std::string& name, Pair linchpin, const Pair& ucx,
                        const Options& options) {
  linchpin.insert(linchpin.end(), ucx.begin(), ucx.end());
  const std::vector<Samples> samples = RunRounds(linchpin, options.rounds);
  const std::vector<std::pair<std::string, Comparison>> comparisons = {
      {"p99.9 of a hit", {.metric = PacedMetrics::kHit}},
      {"longest hit", {.metric = PacedMetrics::kLongestHit, .summary = Summary::kLargest}},
      {"p99.9 from when due", {.metric = PacedMetrics::kFromDue}},
      {"longest from when due",
       {.metric = PacedMetrics::kLongestFromDue, .summary = Summary::kLargest}}};
  std::vector<Row> rows;
  for (const auto& [what, comparison] : comparisons) {
    const std::string full = absl::StrCat(name, ": ", what);
    rows.push_back(Compare(full, samples[0], samples[1], comparison));
    rows.push_back(Compare(full, samples[2], samples[3], comparison));
    rows.push_back(Compare(full, samples[0], samples[2], comparison));
  }
  return rows;
}

std::vector<Row> RunRegistration(const std::string& name, const Options& options) {
  const Regions hot = Regions::Strided(1);
  const Regions slow = Regions::Strided(1);
  LinchpinContender linchpin(Freshness::kStrict);
  UcxContender ucx;
  return RowsOf(name, Registering(linchpin, hot, slow, options),
                Registering(ucx, hot, slow, options), options);
}

std::vector<Row> RunGrowth(const std::string& name, const Options& options) {
  constexpr std::size_t kMillion = 1'000'000;
  const std::size_t filled = options.Regions(kMillion);
  const Regions regions = Regions::Strided(4 * filled);
  LinchpinContender linchpin(Freshness::kStrict);
  UcxContender ucx;
  return RowsOf(name, Growing(linchpin, regions, filled, options),
                Growing(ucx, regions, filled, options), options);
}

int Main(int argc, char** argv) {
  const auto scenario = [](const std::string& name, auto run) {
    return Scenario{name, [=](const Options& options) { return run(name, options); }};
  };
  const Suite suite = {
      .name = "stall_bench",
      .purpose = "What one thread's hits feel of another's registrations",
      .scenarios = {scenario("registration of 100 ms", RunRegistration),
                    scenario("growth from 1M to 4M regions", RunGrowth)},
      .notes = {
          "hits are due every 10 us; the values of the longest are the longest of all rounds"}};
  return RunSuite(suite, argc, argv);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  return linchpin::bench::Main(argc, argv);
}
