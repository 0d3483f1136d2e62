#include "lib/memory/pin_limits.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

#include "lib/memory/limits.h"
#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

// Capabilities in a user namespace of one's own say nothing to the kernel outside it, which is who
// limits pins. The first namespace maps every id to itself; a new one maps none at first.
bool InFirstUserNamespace(pid_t pid) {
  std::ifstream map(ProcPath(pid, "uid_map"));
  if (!map.is_open()) return true;  // A kernel without namespaces.
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t count = 0;
  map >> inside >> outside >> count;
  constexpr std::uint64_t kAll = 0xffffffff;
  return inside == 0 && outside == 0 && count == kAll;
}

// The fields of /proc/PID/status that matter.
void ReadStatus(pid_t pid, PinLimits& limits) {
  // Capabilities are the thread's own.
  std::ifstream status(pid == 0 ? "/proc/thread-self/status" : ProcPath(pid, "status"));
  std::string name = "?";
  for (std::string line; std::getline(status, line);) {
    std::istringstream fields(line);
    std::string key;
    fields >> key;
    if (key == "Name:") fields >> name;
    std::uint64_t kilobytes = 0;
    if (key == "VmPin:" && fields >> kilobytes) limits.pinned_bytes = kilobytes * 1024;
    std::uint64_t capabilities = 0;
    if (key == "CapEff:" && fields >> std::hex >> capabilities) {
      limits.exempt = (capabilities >> CAP_IPC_LOCK & 1) != 0 && InFirstUserNamespace(pid);
    }
  }
  limits.process = absl::StrCat("process ", pid == 0 ? getpid() : pid, " (", name, ")");
}

// "Max locked memory         8388608              8388608              bytes", or "unlimited".
std::uint64_t MemlockOf(pid_t pid) {
  if (pid == 0) {
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
  }
  constexpr std::string_view kName = "Max locked memory";
  std::ifstream limits(ProcPath(pid, "limits"));
  for (std::string line; std::getline(limits, line);) {
    if (!line.starts_with(kName)) continue;
    std::istringstream fields(line.substr(kName.size()));
    std::uint64_t bytes = 0;
    return fields >> bytes ? bytes : UINT64_MAX;
  }
  return UINT64_MAX;
}

}  // namespace

PinLimits ReadPinLimits(pid_t pid) {
  PinLimits limits;
  ReadStatus(pid, limits);
  limits.memlock_bytes = MemlockOf(pid);
  limits.machine_bytes = MachineBytes(pid);
  std::ifstream("/proc/sys/vm/max_map_count") >> limits.max_map_count;
  return limits;
}

}  // namespace linchpin
