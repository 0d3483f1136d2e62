// Each facility is asked for, not deduced from a version: seccomp and sysctls take things away too.
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "apps/linchpin/doctor/check.h"
#include "apps/linchpin/proc_file.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "linchpin/monitor.h"

namespace linchpin {
namespace {

// Newer than the headers of the oldest system we build on.
constexpr std::uint64_t kFeatureWpAsync = std::uint64_t{1} << 15;

std::string SysctlText(const std::string& name, const std::string& path) {
  const std::optional<std::int64_t> value = ReadNumber(path);
  return absl::StrCat(name, " ", value ? absl::StrCat(*value) : std::string("absent"));
}

// Whether a userfaultfd of this kernel watches any mapping, files too.
std::string WpAsyncText() {
  const Fd fd(
      static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY)));
  if (!fd.valid()) return "WP_ASYNC unknown";
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = 0;
  if (ioctl(fd.get(), UFFDIO_API, &api) != 0) return "WP_ASYNC unknown";
  return (api.features & kFeatureWpAsync) != 0
             ? "WP_ASYNC yes"
             : "WP_ASYNC no (regular files are not watched; Linux 6.7 has it)";
}

Check CheckUserfaultfd() {
  Check check = Check::Of("userfaultfd");
  const std::string sysctl =
      SysctlText("vm.unprivileged_userfaultfd", "/proc/sys/vm/unprivileged_userfaultfd");
  const absl::Status status = MemoryMonitor::Shared()->status();
  if (status.ok()) {
    check.detail = absl::StrCat("memory is watched; ", sysctl, "; ", WpAsyncText());
    return check;
  }
  check.state = CheckState::kWarning;
  check.detail = "memory is not watched: no registration is kept without a lease; " + sysctl;
  check.remedy = std::string(status.message());
  return check;
}

Check CheckIoUring() {
  Check check = Check::Of("io_uring");
  io_uring_params parameters{};
  const Fd ring(static_cast<int>(syscall(SYS_io_uring_setup, 1U, &parameters)));
  const int error = ring.valid() ? 0 : errno;
  const std::string sysctl =
      SysctlText("kernel.io_uring_disabled", "/proc/sys/kernel/io_uring_disabled");
  check.detail = absl::StrCat(
      ring.valid() ? std::string("available") : "refused: " + ErrnoText(error), "; ", sysctl);
  if (ring.valid()) return check;
  check.state = CheckState::kWarning;
  check.remedy = error == ENOMEM
                     ? "raise RLIMIT_MEMLOCK, from which rings are taken on older kernels"
                     : "sysctl kernel.io_uring_disabled=0, or allow io_uring_setup, _enter and "
                       "_register in the container's seccomp profile; only loopback needs it";
  return check;
}

Check CheckFork() {
  Check check = Check::Of("fork");
  switch (ibv_is_fork_initialized()) {
    case IBV_FORK_UNNEEDED:
      check.detail = "UNNEEDED: the kernel copies pinned pages on fork";
      return check;
    case IBV_FORK_ENABLED:
      check.state = CheckState::kWarning;
      check.detail = "ENABLED: ibv_fork_init makes every registration slow";
      check.remedy = "unset IBV_FORK_SAFE and RDMAV_FORK_SAFE, and use Linux 5.12 or later";
      return check;
    case IBV_FORK_DISABLED:
      break;
  }
  // The kernel's answer comes from the RDMA core, which may not even be loaded.
  if (access("/sys/class/infiniband", F_OK) != 0) {
    check.detail = "DISABLED, but there is no RDMA here that would need it";
    return check;
  }
  check.state = CheckState::kWarning;
  check.detail = "DISABLED: after a fork the parent's registered memory may move from the device";
  check.remedy = "use Linux 5.12 or later and rdma-core 35 or later, or do not fork";
  return check;
}

Check CheckMembarrier() {
  Check check = Check::Of("membarrier");
  const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  const bool expedited = commands >= 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0;
  if (expedited) {
    check.detail = "PRIVATE_EXPEDITED available";
    return check;
  }
  check.state = CheckState::kWarning;
  check.detail = commands < 0 ? "refused: " + ErrnoText(errno) : "without PRIVATE_EXPEDITED";
  check.remedy = "use Linux 4.14 or later, or allow membarrier in the container's seccomp profile";
  return check;
}

}  // namespace

std::vector<Check> CheckKernel() {
  return {CheckUserfaultfd(), CheckIoUring(), CheckFork(), CheckMembarrier()};
}

}  // namespace linchpin
