// The process's own monitor: one, kept while it is used, and honest where it cannot be had.
#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "linchpin/monitor.h"
#include "tests/monitor/place.h"
#include "tests/monitor/support.h"

namespace linchpin {
namespace {

using testing::ExitStatus;
using testing::Fork;
using testing::kPage;
using testing::Listening;
using testing::RangeOf;
using testing::StartChild;

constexpr std::size_t kBytes = 16 * kPage;

TEST(SharedMonitor, IsOneForAllWhoHoldIt) {
  const auto first = MemoryMonitor::Shared();
  ASSERT_NE(first, nullptr);
  constexpr int kThreads = 8;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&first] { EXPECT_EQ(MemoryMonitor::Shared(), first); });
  }
  for (std::thread& thread : threads) thread.join();
}

// The next one can watch what the one before did, however close they follow each other.
TEST(SharedMonitor, IsMadeAnewAfterTheLastHolderLetGo) {
  const testing::Deadline deadline("monitors that come and go");
  const testing::Place memory(kBytes);
  const auto use = [&memory] {
    for (int i = 0; i < 50; ++i) {
      const auto monitor = MemoryMonitor::Shared();
      if (!monitor->status().ok()) return;
      EXPECT_EQ(monitor->Watch(RangeOf(memory.data(), kBytes), false).coverage, Coverage::kAll);
    }
  };
  std::thread other(use);
  use();
  other.join();
}

TEST(SharedMonitor, WorksWithoutPrivilege) {
  const int status = ExitStatus(StartChild(Fork::kLibc, [] {
    constexpr unsigned int kNobody = 65534;
    if (geteuid() == 0 &&
        (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
         setresuid(kNobody, kNobody, kNobody) != 0)) {
      return 1;
    }
    const auto monitor = MemoryMonitor::Shared();
    if (!monitor->status().ok()) return 77;
    Listening listening(*monitor);
    void* const memory =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(memory, 1, kBytes);
    if (monitor->Watch(RangeOf(memory, kBytes), false).coverage != Coverage::kAll) return 2;
    munmap(memory, kBytes);
    monitor->Settle();
    return listening.recorder.Heard(RangeOf(memory, kBytes)) ? 0 : 3;
  }));
  if (status == 77) GTEST_SKIP() << "userfaultfd is refused here";
  EXPECT_EQ(status, 0);
}

// As a container's default seccomp profile does.
bool ForbidUserfaultfd() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{4, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST(SharedMonitor, WatchesNothingAndSaysWhyWhereSeccompForbidsIt) {
  const int status = ExitStatus(StartChild(Fork::kLibc, [] {
    if (!ForbidUserfaultfd()) return 77;
    const auto own = UserfaultMonitor::Create();
    if (own.status().code() != absl::StatusCode::kUnavailable) return 1;
    const auto monitor = MemoryMonitor::Shared();
    if (monitor == nullptr || monitor->status().code() != absl::StatusCode::kUnavailable) return 2;
    if (std::string(monitor->status().message()).find("seccomp") == std::string::npos) return 3;
    Listening listening(*monitor);
    const testing::Place memory(kBytes);
    const WatchedExtent extent = monitor->Watch(RangeOf(memory.data(), 1), false);
    if (extent.coverage != Coverage::kNone || !extent.uniform) return 4;
    if (extent.range != RangeOf(memory.data(), kBytes)) return 5;
    monitor->Settle();
    return 0;
  }));
  if (status == 77) GTEST_SKIP() << "no seccomp filters here";
  EXPECT_EQ(status, 0);
}

// Like a daemon that closes every descriptor it did not open.
TEST(SharedMonitor, SaysSoWhenItsDescriptorIsClosedBehindItsBack) {
  const int status = ExitStatus(StartChild(Fork::kLibc, [] {
    const auto monitor = MemoryMonitor::Shared();
    if (!monitor->status().ok()) return 77;
    Listening listening(*monitor);
    const testing::Place memory(kBytes);
    const Range range = RangeOf(memory.data(), kBytes);
    if (monitor->Watch(range, false).coverage != Coverage::kAll) return 1;
    syscall(SYS_close_range, 3, ~0U, 0);
    monitor->Settle();
    if (!listening.recorder.Heard(range)) return 2;
    if (monitor->status().code() != absl::StatusCode::kUnavailable) return 3;
    if (monitor->Watch(range, false).coverage != Coverage::kNone) return 4;
    return munmap(memory.data(), kBytes) == 0 ? 0 : 5;
  }));
  if (status == 77) GTEST_SKIP() << "userfaultfd is refused here";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace linchpin
