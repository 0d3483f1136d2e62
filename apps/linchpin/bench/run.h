// Runs the contenders of one size against each other: round by round in a shuffled order, every
// buffer verified after each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

#include "apps/linchpin/bench/options.h"
#include "apps/transport/transport.h"

namespace linchpin {

// The ratio of a contender's throughput to the pre-registered one's in the same round.
struct Ratio {
  double median = 1;
  double p10 = 1;
  double p90 = 1;
};

// What one strategy did with one size.
struct BenchRow {
  Operation operation = Operation::kWrite;
  std::size_t size_bytes = 0;
  Strategy strategy = Strategy::kPreregistered;
  double mb_per_s = 0;  // 2^20 bytes, as in perftest. The median of the rounds, like the next.
  double messages_per_s = 0;
  std::uint64_t registrations = 0;  // Of local memory.
  double hit_rate = 0;
  std::optional<Ratio> ratio;  // Absent when prereg did not run.
  std::uint64_t bytes_verified = 0;
  std::uint64_t bytes_wrong = 0;
  std::uint64_t iterations = 0;
  std::uint64_t rounds = 0;
};

// Runs every strategy of `options` with transfers of `size` bytes.
// Returns: a row for each, in the order of the options; otherwise why a transfer or a registration
// did not succeed. Bytes that arrive wrong are no error: they are counted.
absl::StatusOr<std::vector<BenchRow>> RunBench(Transport& transport, const BenchOptions& options,
                                               std::size_t size);

}  // namespace linchpin
