// Runs contenders against each other, interleaved: each once a round, in a shuffled order.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "bench/harness/options.h"

namespace linchpin::bench {

// Who is measured. A round gives one value or several (metrics): a time in ns, or bytes.
struct Contender {
  std::string name;
  std::function<std::vector<double>()> round;  // Not called when `absent` says why it cannot run.
  std::string absent = {};
};

// What a contender's rounds gave. `metrics[m][r]` is the value of metric m in round r.
struct Samples {
  std::string name;
  std::string absent;
  std::vector<std::vector<double>> metrics;
};

// Returns: the samples of each contender, in their order.
std::vector<Samples> RunRounds(const std::vector<Contender>& contenders, int rounds);

// A piece of work, for a number of operations that is found by trying.
struct Block {
  std::function<double(std::size_t operations)> run;         // Returns the ns that count.
  std::function<void(std::size_t operations)> prepare = {};  // Before it.
  std::function<void()> finish = {};                         // After it.
  std::size_t operations_max = std::size_t{1} << 32;
};

// A contender whose one metric is the time of one operation in ns. Finds out, by running it, how
// many operations take options.block(), at most block.operations_max.
Contender Timed(std::string name, Block block, const Options& options);

// A Block's `run` of which all the time counts.
std::function<double(std::size_t)> Clocked(std::function<void(std::size_t operations)> body);

}  // namespace linchpin::bench
