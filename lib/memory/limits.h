// What bounds the memory that this process may pin, and the addresses that it may use.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace linchpin {

struct MemoryLimits {
  std::uint64_t memlock_bytes = 0;  // RLIMIT_MEMLOCK, the soft limit.
  bool memlock_exempt = false;      // PinLimits::exempt, or the limit is infinite.
  std::uint64_t pinned_bytes = 0;   // VmPin: every registration counts, the same page twice twice.
  std::uint64_t machine_bytes = 0;  // The machine's memory, or its cgroup's limit if lower.
  std::uint64_t address_bytes = 0;  // What RLIMIT_AS leaves; UINT64_MAX if it is infinite.
};

// Reads the limits as they are now: a few files in /proc and /sys, about 0.1 ms. What cannot be
// read is taken as: no pins, no exemption, the machine's memory.
MemoryLimits ReadMemoryLimits();

// The machine's memory, or what the cgroup of process `pid` (0: this one) leaves of it if less.
std::uint64_t MachineBytes(pid_t pid);

}  // namespace linchpin
