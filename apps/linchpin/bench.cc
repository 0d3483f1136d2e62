// linchpin bench: what registering costs a transfer, and what the cache makes of it.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/bench/options.h"
#include "apps/linchpin/bench/run.h"
#include "apps/linchpin/bench/table.h"
#include "apps/linchpin/report.h"
#include "apps/linchpin/subcommand.h"
#include "apps/transport/transport.h"
#include "linchpin/monitor.h"

namespace linchpin {
namespace {

ExitCode CodeOf(const absl::Status& status) {
  const bool usage = absl::IsNotFound(status) || absl::IsInvalidArgument(status);
  return usage ? ExitCode::kUsage : ExitCode::kUnusable;
}

// Without a monitor the cache keeps nothing, and its row would show that without the reason.
void WarnIfUnwatched(const std::vector<Strategy>& strategies) {
  if (std::find(strategies.begin(), strategies.end(), Strategy::kCached) == strategies.end()) {
    return;
  }
  const absl::Status status = MemoryMonitor::Shared()->status();
  if (!status.ok()) {
    Warn("nothing is cached, because nothing watches the memory: " + std::string(status.message()));
  }
}

ExitCode ReportWrong(const std::vector<BenchRow>& rows) {
  const auto sum = [&](std::uint64_t BenchRow::*field) {
    return std::accumulate(
        rows.begin(), rows.end(), std::uint64_t{0},
        [field](std::uint64_t total, const BenchRow& row) { return total + row.*field; });
  };
  const std::uint64_t wrong = sum(&BenchRow::bytes_wrong);
  if (wrong == 0) return ExitCode::kOk;
  return Fail(ExitCode::kUnusable,
              absl::StrFormat("%d of %d transferred bytes are wrong; the rows say whose", wrong,
                              sum(&BenchRow::bytes_verified)));
}

ExitCode RunBenchSubcommand(const BenchArguments& arguments) {
  const absl::StatusOr<BenchOptions> options = ParseBenchArguments(arguments);
  if (!options.ok()) return Fail(ExitCode::kUsage, options.status());
  for (const std::size_t size : options->sizes) {
    const absl::Status status = CheckMemory(size, options->buffers.value_or(DefaultBuffers(size)));
    if (!status.ok()) return Fail(ExitCode::kUnusable, status);
  }
  const absl::StatusOr<std::shared_ptr<Device>> device = OpenDevice(options->device);
  if (!device.ok()) return Fail(CodeOf(device.status()), device.status());
  const absl::StatusOr<std::unique_ptr<Transport>> transport = (*device)->Connect();
  if (!transport.ok()) return Fail(ExitCode::kUnusable, transport.status());
  WarnIfUnwatched(options->strategies);

  std::vector<BenchRow> rows;
  if (!options->json) Print(TableHead(*options, (*device)->name()));
  for (const std::size_t size : options->sizes) {
    const absl::StatusOr<std::vector<BenchRow>> found = RunBench(**transport, *options, size);
    if (!found.ok()) return Fail(ExitCode::kUnusable, found.status());
    for (const BenchRow& row : *found) {
      if (!options->json) Print(TableLine(row));
      rows.push_back(row);
    }
  }
  if (options->json) Print(ToJson((*device)->name(), rows));
  return ReportWrong(rows);
}

void AddOperation(CLI::App& bench, Operation operation, Action& action) {
  const std::string name = ToString(operation);
  CLI::App* app = bench.add_subcommand(name, "Measures RDMA " + name + "s");
  const auto arguments = std::make_shared<BenchArguments>();
  arguments->operation = operation;
  app->add_option("-d,--device", arguments->device,
                  "An RDMA device, or loopback (default: the best there is)")
      ->type_name("NAME");
  app->add_option("-s,--size", arguments->size,
                  "Bytes of a transfer; K, M, G or T behind it (default 64K)")
      ->type_name("SIZE");
  app->add_option("-n,--iterations", arguments->iterations,
                  "Transfers of each size and strategy (default: about two seconds')")
      ->type_name("ITERS");
  app->add_flag("-a,--all", arguments->all_sizes, "All sizes from 2 bytes to 8 MiB");
  app->add_option("--strategy", arguments->strategies,
                  "Which of prereg, cached and per-op (default: all)")
      ->type_name("LIST");
  app->add_option("--buffers", arguments->buffers,
                  "Buffers used in turn (default: 16 MiB of them, 2 to 16)")
      ->type_name("N");
  app->add_option("--depth", arguments->depth, "The most transfers outstanding (default 64)")
      ->type_name("N");
  app->add_flag("--json", arguments->json, "Machine-readable output");
  app->callback(
      [arguments, &action] { action = [arguments] { return RunBenchSubcommand(*arguments); }; });
}

}  // namespace

void AddBench(CLI::App& app, Action& action) {
  CLI::App* bench = app.add_subcommand(
      "bench", "Measures transfers: registered before, cached, and registered for each");
  bench->require_subcommand(1);
  AddOperation(*bench, Operation::kWrite, action);
  AddOperation(*bench, Operation::kRead, action);
}

}  // namespace linchpin
