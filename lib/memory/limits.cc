#include "lib/memory/limits.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

bool HasIpcLock() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

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
  MemoryLimits limits;
  rlimit memlock{};
  getrlimit(RLIMIT_MEMLOCK, &memlock);
  limits.memlock_bytes = memlock.rlim_cur;
  limits.memlock_exempt = memlock.rlim_cur == RLIM_INFINITY || HasIpcLock();
  limits.pinned_bytes = StatusBytes("VmPin:");
  limits.machine_bytes = MachineBytes(0);
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
