// What `linchpin bench` was asked to do, checked before anything is opened or allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "apps/transport/transport.h"

namespace linchpin {

// How the local memory of a transfer gets its key.
enum class Strategy : std::uint8_t {
  kPreregistered,  // Every buffer is registered once, before.
  kCached,         // Each operation acquires a lease from a RegistrationCache.
  kPerOperation,   // Each operation registers, and deregisters after it.
};

// "prereg", "cached", "per-op": what --strategy takes and the output shows.
std::string ToString(Strategy strategy);

std::string ToString(Operation operation);  // "write", "read".

// The options as they stand on the command line; empty is not given.
struct BenchArguments {
  Operation operation = Operation::kWrite;
  std::optional<std::string> device;
  std::optional<std::string> size;
  std::optional<std::string> iterations;
  std::optional<std::string> buffers;
  std::optional<std::string> depth;
  std::string strategies = "prereg,cached,per-op";
  bool all_sizes = false;
  bool json = false;
};

struct BenchOptions {
  Operation operation = Operation::kWrite;
  std::string device;              // Empty: the best there is.
  std::vector<std::size_t> sizes;  // In bytes, of one transfer.
  std::vector<Strategy> strategies;
  std::optional<std::uint64_t> iterations;  // Of each strategy and size; absent: by time.
  std::optional<std::size_t> buffers;       // Absent: DefaultBuffers of the size.
  std::size_t depth = 64;                   // The most transfers outstanding.
  bool json = false;
};

// Returns: the options; InvalidArgument, naming the option, for what makes no sense.
absl::StatusOr<BenchOptions> ParseBenchArguments(const BenchArguments& arguments);

// As many buffers of `size` bytes as are reused often in a run and verified quickly.
std::size_t DefaultBuffers(std::size_t size);

// Returns: OK when `count` buffers of `size` bytes, on either side, leave the machine enough;
// ResourceExhausted, with the arithmetic, when they would take more than half of the memory
// available, or than 4 GiB.
absl::Status CheckMemory(std::size_t size, std::size_t count);

}  // namespace linchpin
