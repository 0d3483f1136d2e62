#include "lib/memory/limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "lib/memory/pin_limits.h"
#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

// A line of /proc/self/status, such as "VmPin:", in bytes; 0 if there is none.
std::uint64_t StatusBytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (!line.starts_with(name)) continue;
    return std::strtoull(line.c_str() + name.size(), nullptr, 10) * 1024;
  }
  return 0;
}

std::uint64_t AddressBytesLeft() {
  rlimit addresses{};
  getrlimit(RLIMIT_AS, &addresses);
  if (addresses.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return addresses.rlim_cur - std::min<std::uint64_t>(addresses.rlim_cur, StatusBytes("VmSize:"));
}

// The limit in `file`, or `otherwise` if there is none ("max") or no such file.
std::uint64_t LimitIn(const std::string& file, std::uint64_t otherwise) {
  std::ifstream stream(file);
  std::uint64_t limit = 0;
  return stream >> limit && limit != 0 ? limit : otherwise;
}

}  // namespace

MemoryLimits ReadMemoryLimits() {
  const PinLimits pins = ReadPinLimits(0);
  MemoryLimits limits;
  limits.memlock_bytes = pins.memlock_bytes;
  limits.memlock_exempt = pins.memlock_bytes == UINT64_MAX || pins.exempt;
  limits.pinned_bytes = pins.pinned_bytes;
  limits.machine_bytes = pins.machine_bytes;
  limits.address_bytes = AddressBytesLeft();
  return limits;
}

std::uint64_t MachineBytes(pid_t pid) {
  std::uint64_t bytes = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  std::ifstream groups(ProcPath(pid, "cgroup"));
  std::string line;
  while (std::getline(groups, line)) {  // "0::/path" is version 2, "5:memory:/path" version 1.
    const std::string path = line.substr(std::min(line.size(), line.rfind(':') + 1));
    if (line.starts_with("0::")) {
      bytes = std::min(bytes, LimitIn("/sys/fs/cgroup" + path + "/memory.max", bytes));
    } else if (line.find(":memory:") != std::string::npos) {
      const std::string folder = "/sys/fs/cgroup/memory" + path;
      bytes = std::min(bytes, LimitIn(folder + "/memory.limit_in_bytes", bytes));
    }
  }
  return bytes;
}

}  // namespace linchpin
