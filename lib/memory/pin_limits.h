// PinLimits: what bounds the memory that a process may pin, as registration counts it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace linchpin {

struct PinLimits {
  std::string process;              // "process 17 (mpirun)": whose limits they are.
  std::uint64_t memlock_bytes = 0;  // RLIMIT_MEMLOCK, the soft limit; UINT64_MAX if it is infinite.
  std::uint64_t pinned_bytes = 0;   // VmPin: every registration counts, the same page twice twice.
  bool exempt = false;              // CAP_IPC_LOCK where the kernel asks for it.
  std::uint64_t machine_bytes = 0;  // The machine's memory, or its cgroup's limit if lower.
  std::uint64_t max_map_count = 0;  // Mappings that a process may have; 0 if it is not known.
};

// Reads the limits of process `pid` (0: this one) as they are now, some 0.1 ms. What cannot be read
// is taken as no limit.
PinLimits ReadPinLimits(pid_t pid);

}  // namespace linchpin
