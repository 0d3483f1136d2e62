// Hits one region a number of times, for callgrind to count: `bench/callgrind` runs this with n and
// with 2n hits, and divides the difference by n. It measures nothing by itself.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "bench/contenders/btree_contender.h"
#include "bench/contenders/linchpin_contender.h"
#include "bench/contenders/map_contender.h"
#include "bench/contenders/ucx_contender.h"
#include "bench/workload/hits.h"
#include "bench/workload/regions.h"
#include "linchpin/monitor.h"

namespace linchpin::bench {
namespace {

constexpr int kUsage = 1;

template <typename Cache>
int HitOften(Cache& cache, std::size_t hits) {
  if (!Cache::kAbsent.empty()) {
    std::fprintf(stderr, "%s: %s\n", std::string(Cache::kName).c_str(),
                 std::string(Cache::kAbsent).c_str());
    return kSkippedCode;
  }
  const Regions regions = Regions::Strided(1);
  RequestStream stream = RequestStream::Hot(regions, 0);
  HitMany(cache, stream, hits);
  return 0;
}

int Run(const std::string& contender, std::size_t hits) {
  // Valgrind knows no userfaultfd, and does not run what UCX's hooks patch: neither is there, and a
  // hit asks a monitor that was told of nothing.
  if (contender == "linchpin" || contender == "linchpin-strict") {
    LinchpinContender linchpin(
        contender == "linchpin" ? Freshness::kSynchronised : Freshness::kStrict,
        std::make_shared<ManualMonitor>());
    return HitOften(linchpin, hits);
  }
  if (contender == "ucx") {
    UcxContender ucx(UcxContender::Hooks::kNone);
    return HitOften(ucx, hits);
  }
  if (contender == "map") {
    MapContender map;
    return HitOften(map, hits);
  }
  BtreeContender btree;
  return HitOften(btree, hits);
}

int Main(int argc, char** argv) {
  CLI::App app("Hits one region, for callgrind to count the instructions", "hit_instructions");
  std::string contender = "linchpin";
  std::size_t hits = 1000;
  app.add_option("--contender", contender, "Whose hits")
      ->check(CLI::IsMember({"linchpin", "linchpin-strict", "ucx", "map", "btree"}))
      ->capture_default_str();
  app.add_option("--hits", hits, "How many")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  const Crew parked(1);  // As in the benchmarks: locks are not elided.
  return Run(contender, hits);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  try {
    return linchpin::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    linchpin::bench::Fail(error.what());
  }
}
