#include "bench/harness/measure.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace linchpin::bench {
namespace {

double RunBlock(const Block& block, std::size_t operations) {
  if (block.prepare) block.prepare(operations);
  const double ns = block.run(operations);
  if (block.finish) block.finish();
  return ns;
}

// Doubles the operations until they take long enough, then aims once by the last speed seen.
std::size_t OperationsFor(const Block& block, double enough_ns) {
  std::size_t operations = std::min<std::size_t>(16, block.operations_max);
  for (;;) {
    const double ns = RunBlock(block, operations);
    if (operations == block.operations_max) return operations;
    const double wanted = static_cast<double>(operations) * enough_ns / std::max(ns, 1.0);
    const double most = static_cast<double>(block.operations_max);
    if (ns >= enough_ns / 2) {
      return static_cast<std::size_t>(std::clamp(wanted, static_cast<double>(operations), most));
    }
    operations = std::min(operations * 2, block.operations_max);
  }
}

void Append(Samples& samples, const std::vector<double>& values) {
  samples.metrics.resize(values.size());
  for (std::size_t m = 0; m < values.size(); ++m) samples.metrics[m].push_back(values[m]);
}

}  // namespace

std::function<double(std::size_t)> Clocked(std::function<void(std::size_t operations)> body) {
  return [body = std::move(body)](std::size_t operations) {
    const auto start = std::chrono::steady_clock::now();
    body(operations);
    const auto end = std::chrono::steady_clock::now();
    return std::chrono::duration<double, std::nano>(end - start).count();
  };
}

std::vector<Samples> RunRounds(const std::vector<Contender>& contenders, int rounds) {
  std::vector<Samples> samples;
  samples.reserve(contenders.size());
  for (const Contender& contender : contenders) {
    samples.push_back({.name = contender.name, .absent = contender.absent, .metrics = {}});
  }
  std::vector<std::size_t> order(contenders.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937 shuffle(1);  // NOLINT(bugprone-random-generator-seed): the same order each time.
  for (int round = 0; round < rounds; ++round) {
    std::shuffle(order.begin(), order.end(), shuffle);
    for (const std::size_t i : order) {
      if (contenders[i].absent.empty()) Append(samples[i], contenders[i].round());
    }
  }
  return samples;
}

Contender Timed(std::string name, Block block, const Options& options) {
  const double enough_ns = std::chrono::duration<double, std::nano>(options.block()).count();
  const std::size_t operations = OperationsFor(block, enough_ns);
  return {
      .name = std::move(name), .round = [block = std::move(block), operations] {
        return std::vector<double>{RunBlock(block, operations) / static_cast<double>(operations)};
      }};
}

}  // namespace linchpin::bench
