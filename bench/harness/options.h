// What every benchmark can be asked to do, and how it says that it cannot.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace linchpin::bench {

struct Options {
  int rounds = 11;
  bool json = false;
  bool quick = false;  // Small sizes and short blocks: shows that it runs; the numbers say nothing.
  std::string filter;  // Runs only the scenarios whose name contains it.

  // How long a contender runs at least in a round, so that the clock's own time does not count.
  std::chrono::nanoseconds block() const {
    return quick ? std::chrono::microseconds(200) : std::chrono::milliseconds(20);
  }
  // `full` regions, or few enough of them for a quick run.
  std::size_t Regions(std::size_t full) const { return quick && full > 512 ? 512 : full; }
};

// Prints `reason` to standard error and ends the process with exit code 2: a benchmark has nothing
// to go on with.
[[noreturn]] void Fail(const std::string& reason);

// The same with exit code 77: the machine lacks what the benchmark needs.
inline constexpr int kSkippedCode = 77;
[[noreturn]] void Skip(const std::string& reason);

}  // namespace linchpin::bench
