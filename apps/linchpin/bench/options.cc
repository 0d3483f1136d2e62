// The checks are made on the text, so that the message can show what was typed.
#include "apps/linchpin/bench/options.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/bench/buffers.h"
#include "apps/linchpin/proc_file.h"
#include "apps/linchpin/quantity.h"

namespace linchpin {
namespace {

constexpr std::uint64_t kIterationsMost = 1'000'000'000;
constexpr std::uint64_t kBuffersMost = 65'536;
constexpr std::uint64_t kDepthMost = 65'536;
constexpr std::size_t kSmallestSize = 2;
constexpr std::size_t kLargestSize = std::size_t{8} << 20;  // -a runs from one to the other.
constexpr std::size_t kDefaultSize = 65'536;
constexpr std::uint64_t kMemoryMost = std::uint64_t{4} << 30;

constexpr Strategy kStrategies[] = {Strategy::kPreregistered, Strategy::kCached,
                                    Strategy::kPerOperation};

absl::StatusOr<Strategy> StrategyNamed(const std::string& name) {
  for (const Strategy strategy : kStrategies) {
    if (ToString(strategy) == name) return strategy;
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("--strategy: \"%s\" is none; there are prereg, cached and per-op", name));
}

absl::StatusOr<std::vector<Strategy>> ParseStrategies(const std::string& text) {
  std::vector<Strategy> strategies;
  std::size_t start = 0;
  while (start <= text.size()) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    const absl::StatusOr<Strategy> strategy = StrategyNamed(text.substr(start, comma - start));
    if (!strategy.ok()) return strategy.status();
    if (std::find(strategies.begin(), strategies.end(), *strategy) != strategies.end()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--strategy: \"%s\" stands there twice", ToString(*strategy)));
    }
    strategies.push_back(*strategy);
    start = comma + 1;
  }
  return strategies;
}

absl::StatusOr<std::vector<std::size_t>> ParseSizes(const BenchArguments& arguments) {
  std::vector<std::size_t> sizes;
  if (arguments.all_sizes) {
    if (arguments.size) {
      return absl::InvalidArgumentError("-a runs all sizes, and -s one; give one of them");
    }
    for (std::size_t size = kSmallestSize; size <= kLargestSize; size *= 2) sizes.push_back(size);
    return sizes;
  }
  if (!arguments.size) return std::vector<std::size_t>{kDefaultSize};
  const absl::StatusOr<std::uint64_t> size = ParseSize("--size", *arguments.size);
  if (!size.ok()) return size.status();
  return std::vector<std::size_t>{*size};
}

// Stores in `number` what `text` is, if it was given.
template <typename Number>
absl::Status ParseOptional(const std::string& option, const std::optional<std::string>& text,
                           std::uint64_t most, Number& number) {
  if (!text) return absl::OkStatus();
  const absl::StatusOr<std::uint64_t> parsed =
      ParseCount(option, *text, {.least = 1, .most = most});
  if (!parsed.ok()) return parsed.status();
  number = *parsed;
  return absl::OkStatus();
}

}  // namespace

std::string ToString(Strategy strategy) {
  switch (strategy) {
    case Strategy::kPreregistered:
      return "prereg";
    case Strategy::kCached:
      return "cached";
    case Strategy::kPerOperation:
      return "per-op";
  }
  return "unknown";
}

std::string ToString(Operation operation) {
  return operation == Operation::kRead ? "read" : "write";
}

absl::StatusOr<BenchOptions> ParseBenchArguments(const BenchArguments& arguments) {
  BenchOptions options;
  options.operation = arguments.operation;
  options.json = arguments.json;
  if (arguments.device) {
    if (arguments.device->empty()) {
      return absl::InvalidArgumentError("--device: \"\" is no name; leave it out for the best");
    }
    options.device = *arguments.device;
  }
  const absl::StatusOr<std::vector<std::size_t>> sizes = ParseSizes(arguments);
  if (!sizes.ok()) return sizes.status();
  options.sizes = *sizes;
  const absl::StatusOr<std::vector<Strategy>> strategies = ParseStrategies(arguments.strategies);
  if (!strategies.ok()) return strategies.status();
  options.strategies = *strategies;
  absl::Status status =
      ParseOptional("--iterations", arguments.iterations, kIterationsMost, options.iterations);
  status.Update(ParseOptional("--buffers", arguments.buffers, kBuffersMost, options.buffers));
  status.Update(ParseOptional("--depth", arguments.depth, kDepthMost, options.depth));
  if (!status.ok()) return status;
  return options;
}

std::size_t DefaultBuffers(std::size_t size) {
  constexpr std::size_t kBytes = std::size_t{16} << 20;
  return std::clamp<std::size_t>(kBytes / size, 2, 16);
}

absl::Status CheckMemory(std::size_t size, std::size_t count) {
  const std::uint64_t available =
      ReadFieldBytes("/proc/meminfo", "MemAvailable").value_or(2 * kMemoryMost);
  const std::uint64_t most = std::min(available / 2, kMemoryMost);
  // In this form nothing overflows, whatever was typed.
  if (size <= most && BufferSet::Stride(size) <= most / 2 / count) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "2 sides x %d buffers x %s is more memory than the benchmark takes here (%d MiB: half of "
      "what is available, at most 4 GiB); give a smaller --size or fewer --buffers",
      count, FormatSize(size), most >> 20));
}

}  // namespace linchpin
