// The limits are those of this process: run the doctor as the application is run.
#include <linux/capability.h>
#include <sys/resource.h>

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/doctor/check.h"
#include "apps/linchpin/proc_file.h"

namespace linchpin {
namespace {

constexpr const char* kStatus = "/proc/self/status";

std::string LimitText(rlim_t limit) {
  return limit == RLIM_INFINITY ? "unlimited" : absl::StrFormat("%d KiB", limit / 1024);
}

bool HasIpcLock() {
  const std::optional<std::string> effective = ReadField(kStatus, "CapEff");
  if (!effective) return false;
  return (std::stoull(*effective, nullptr, 16) >> CAP_IPC_LOCK & 1) != 0;
}

Check CheckMemlock() {
  constexpr rlim_t kRoom = rlim_t{1} << 30;  // Below it, a few large buffers use it up.
  Check check = Check::Of("memlock");
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  const bool exempt = HasIpcLock();
  check.detail =
      absl::StrFormat("RLIMIT_MEMLOCK soft %s, hard %s; %s CAP_IPC_LOCK%s",
                      LimitText(limit.rlim_cur), LimitText(limit.rlim_max),
                      exempt ? "with" : "without", exempt ? ", which exempts from it" : "");
  if (exempt || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= kRoom) return check;
  check.state = limit.rlim_cur == 0 ? CheckState::kProblem : CheckState::kWarning;
  check.remedy =
      "raise it: ulimit -l unlimited, memlock in /etc/security/limits.conf, LimitMEMLOCK= of a "
      "systemd unit, --ulimit memlock=-1 of a container; or grant CAP_IPC_LOCK";
  return check;
}

Check CheckPinned() {
  const std::optional<std::uint64_t> pinned = ReadFieldBytes(kStatus, "VmPin");
  return {.name = "pinned",
          .state = CheckState::kOk,
          .detail = pinned ? absl::StrFormat("VmPin of this process: %d KiB now", *pinned / 1024)
                           : std::string("the kernel does not say what is pinned"),
          .remedy = ""};
}

Check CheckMaps() {
  constexpr std::int64_t kUsual = 65'530;
  Check check = Check::Of("max_map_count");
  const std::optional<std::int64_t> most = ReadNumber("/proc/sys/vm/max_map_count");
  std::ifstream maps("/proc/self/maps");
  std::int64_t now = 0;
  for (std::string line; std::getline(maps, line);) ++now;
  if (!most) {
    check.detail = "vm.max_map_count cannot be read";
    return check;
  }
  check.detail = absl::StrFormat("%d mappings at most, %d now", *most, now);
  if (*most < kUsual) {
    check.state = CheckState::kWarning;
    check.remedy = "watching memory in pieces splits mappings: sysctl vm.max_map_count=262144";
  }
  return check;
}

}  // namespace

std::vector<Check> CheckProcess() {
  return {CheckMemlock(), CheckPinned(), CheckMaps()};
}

}  // namespace linchpin
