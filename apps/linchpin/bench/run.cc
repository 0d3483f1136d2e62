// Ratios are taken within a round, so that a clock or a neighbour that drifts cancels out.
#include "apps/linchpin/bench/run.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/bench/buffers.h"
#include "apps/linchpin/bench/contender.h"
#include "apps/linchpin/bench/keys.h"

namespace linchpin {
namespace {

constexpr std::uint64_t kRoundsLeast = 11;
constexpr std::uint64_t kRoundsMost = 101;
constexpr std::uint64_t kRoundIterations = 16;  // So many make a round, where there are enough.
constexpr double kSecondsOfRow = 2.0;           // What a strategy may take when -n is absent.
constexpr double kSecondsOfAll = 0.2;           // The same with -a, which has many sizes.

// How `iterations` are dealt out: the first of the rounds get one more where they do not divide.
struct Rounds {
  std::uint64_t count = 1;
  std::uint64_t iterations = 1;

  std::uint64_t IterationsOf(std::uint64_t round) const {
    return iterations / count + (round < iterations % count ? 1 : 0);
  }
};

Rounds Deal(std::uint64_t iterations) {
  const std::uint64_t wished = std::clamp(iterations / kRoundIterations, kRoundsLeast, kRoundsMost);
  return {.count = std::min(wished, iterations), .iterations = iterations};
}

double Percentile(std::vector<double> values, double fraction) {
  const auto at = std::lround(fraction * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

// A strategy in the running, and what was measured of it.
struct Runner {
  Strategy strategy = Strategy::kPreregistered;
  std::unique_ptr<Contender> contender;
  std::size_t next_buffer = 0;
  std::vector<double> messages_per_s;  // One a round.
  std::uint64_t bytes_verified = 0;
  std::uint64_t bytes_wrong = 0;
};

// One size's run.
class Race final {
 public:
  Race(Transport& transport, const BenchOptions& options, BufferSet local, BufferSet remote)
      : transport_(transport),
        options_(options),
        local_(std::move(local)),
        remote_(std::move(remote)) {
    const bool write = options_.operation == Operation::kWrite;
    memory_ = {
        .local = &local_,
        .remote = &remote_,
        .local_access = write ? Access::kLocalRead : Access::kLocalWrite,
        .remote_access = write ? Access::kLocalWrite | Access::kRemoteWrite : Access::kRemoteRead};
  }

  absl::StatusOr<std::vector<BenchRow>> Run();

 private:
  absl::StatusOr<std::uint64_t> IterationsByTime();
  absl::Status RunRounds(const Rounds& rounds);
  absl::Status RunOne(Runner& runner, std::uint64_t round, std::uint64_t count);
  absl::StatusOr<std::unique_ptr<Contender>> NewContender(Strategy strategy);
  BenchRow RowOf(const Runner& runner, const Rounds& rounds) const;
  std::optional<Ratio> RatioOf(const Runner& runner) const;

  const BufferSet& source() const {
    return options_.operation == Operation::kWrite ? local_ : remote_;
  }
  const BufferSet& destination() const {
    return options_.operation == Operation::kWrite ? remote_ : local_;
  }

  Transport& transport_;
  const BenchOptions& options_;
  BufferSet local_;
  BufferSet remote_;
  BenchMemory memory_;
  std::vector<Runner> runners_;  // After the memory: they are gone before it.
};

absl::StatusOr<std::unique_ptr<Contender>> Race::NewContender(Strategy strategy) {
  return MakeContender(
      transport_, memory_,
      {.strategy = strategy, .operation = options_.operation, .depth = options_.depth});
}

// Times ever longer stretches of pre-registered transfers, which also warm everything up.
absl::StatusOr<std::uint64_t> Race::IterationsByTime() {
  constexpr double kLongEnough = 0.1;
  constexpr std::uint64_t kMost = 1'000'000;
  absl::StatusOr<std::unique_ptr<Contender>> contender = NewContender(Strategy::kPreregistered);
  if (!contender.ok()) return contender.status();
  double seconds = 0;
  std::uint64_t count = 1;
  while (true) {
    const absl::StatusOr<double> took = (*contender)->Run({.first = 0, .count = count});
    if (!took.ok()) return took.status();
    seconds = *took;
    if (seconds >= kLongEnough || count >= kMost) break;
    count *= 2;
  }
  const absl::Status finished = (*contender)->Finish();
  if (!finished.ok()) return finished;
  const double budget = options_.sizes.size() > 1 ? kSecondsOfAll : kSecondsOfRow;
  const double fitting = budget / std::max(seconds, 1e-9) * static_cast<double>(count);
  return static_cast<std::uint64_t>(
      std::clamp(fitting, static_cast<double>(2 * kRoundsLeast), static_cast<double>(kMost)));
}

absl::Status Race::RunOne(Runner& runner, std::uint64_t round, std::uint64_t count) {
  const std::size_t buffers = local_.count();
  const std::size_t touched = static_cast<std::size_t>(std::min<std::uint64_t>(count, buffers));
  const std::size_t first = runner.next_buffer;
  const auto pattern = [&](std::size_t buffer) {
    return Pattern({.strategy = static_cast<std::uint32_t>(runner.strategy),
                    .round = static_cast<std::uint32_t>(round),
                    .buffer = buffer});
  };
  for (std::size_t i = 0; i < touched; ++i) {
    const std::size_t buffer = (first + i) % buffers;
    pattern(buffer).Fill(source().at(buffer), source().size());
    pattern(buffer).FillWrong(destination().at(buffer), destination().size());
  }
  const absl::StatusOr<double> seconds = runner.contender->Run({.first = first, .count = count});
  if (!seconds.ok()) return seconds.status();
  runner.messages_per_s.push_back(static_cast<double>(count) / std::max(*seconds, 1e-9));
  runner.next_buffer = static_cast<std::size_t>((first + count) % buffers);
  for (std::size_t i = 0; i < touched; ++i) {
    const std::size_t buffer = (first + i) % buffers;
    runner.bytes_verified += destination().size();
    runner.bytes_wrong +=
        pattern(buffer).CountWrong(destination().at(buffer), destination().size());
  }
  return absl::OkStatus();
}

absl::Status Race::RunRounds(const Rounds& rounds) {
  std::vector<Runner*> order;
  for (Runner& runner : runners_) order.push_back(&runner);
  std::mt19937 shuffle(1);
  for (std::uint64_t round = 0; round < rounds.count; ++round) {
    std::shuffle(order.begin(), order.end(), shuffle);
    for (Runner* runner : order) {
      absl::Status status = RunOne(*runner, round, rounds.IterationsOf(round));
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

std::optional<Ratio> Race::RatioOf(const Runner& runner) const {
  const auto baseline = std::find_if(runners_.begin(), runners_.end(), [](const Runner& candidate) {
    return candidate.strategy == Strategy::kPreregistered;
  });
  if (baseline == runners_.end()) return std::nullopt;
  std::vector<double> ratios;
  for (std::size_t i = 0; i < runner.messages_per_s.size(); ++i) {
    ratios.push_back(runner.messages_per_s[i] / baseline->messages_per_s[i]);
  }
  return Ratio{.median = Percentile(ratios, 0.5),
               .p10 = Percentile(ratios, 0.1),
               .p90 = Percentile(ratios, 0.9)};
}

BenchRow Race::RowOf(const Runner& runner, const Rounds& rounds) const {
  BenchRow row;
  row.operation = options_.operation;
  row.size_bytes = local_.size();
  row.strategy = runner.strategy;
  row.messages_per_s = Percentile(runner.messages_per_s, 0.5);
  row.mb_per_s = row.messages_per_s * static_cast<double>(row.size_bytes) / (1 << 20);
  row.registrations = runner.contender->registrations();
  row.hit_rate = runner.contender->hit_rate();
  row.ratio = RatioOf(runner);
  row.bytes_verified = runner.bytes_verified;
  row.bytes_wrong = runner.bytes_wrong;
  row.iterations = rounds.iterations;
  row.rounds = rounds.count;
  return row;
}

absl::StatusOr<std::vector<BenchRow>> Race::Run() {
  absl::StatusOr<std::uint64_t> iterations =
      options_.iterations ? absl::StatusOr<std::uint64_t>(*options_.iterations)
                          : IterationsByTime();
  if (!iterations.ok()) return iterations.status();
  for (const Strategy strategy : options_.strategies) {
    absl::StatusOr<std::unique_ptr<Contender>> contender = NewContender(strategy);
    if (!contender.ok()) return contender.status();
    Runner& runner = runners_.emplace_back();
    runner.strategy = strategy;
    runner.contender = *std::move(contender);
  }
  const Rounds rounds = Deal(*iterations);
  absl::Status status = RunRounds(rounds);
  if (!status.ok()) return status;
  std::vector<BenchRow> rows;
  for (const Runner& runner : runners_) rows.push_back(RowOf(runner, rounds));
  for (const Runner& runner : runners_) status.Update(runner.contender->Finish());
  if (!status.ok()) return status;
  return rows;
}

}  // namespace

absl::StatusOr<std::vector<BenchRow>> RunBench(Transport& transport, const BenchOptions& options,
                                               std::size_t size) {
  const std::size_t count = options.buffers.value_or(DefaultBuffers(size));
  absl::Status status = CheckMemory(size, count);
  if (!status.ok()) return status;
  const std::uint64_t most = transport.registrar()->limits().max_region_bytes;
  if (size > most) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--size: %s registers at most %d bytes in one region, and %d were asked for",
        transport.device(), most, size));
  }
  absl::StatusOr<BufferSet> local = BufferSet::Map(size, count);
  if (!local.ok()) return local.status();
  absl::StatusOr<BufferSet> remote = BufferSet::Map(size, count);
  if (!remote.ok()) return remote.status();
  return Race(transport, options, *std::move(local), *std::move(remote)).Run();
}

}  // namespace linchpin
