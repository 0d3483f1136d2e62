// A forked child, by libc and by a raw clone, which runs no fork handler: what it inherits is
// inert, what it makes anew works, and its parent never waits for it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "lib/base/fork_closed_fd.h"
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

int UserfaultfdsOpen() {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(entry.path(), error);
    if (target.string().find("userfaultfd") != std::string::npos) ++count;
  }
  return count;
}

// What a child finds: 0 when all is as it should be, else the number of the step.
int LookAtInherited(const std::shared_ptr<MemoryMonitor>& monitor, Range known, Fork how) {
  testing::Recorder recorder;
  if (how == Fork::kLibc && UserfaultfdsOpen() != 0) return 1;
  if (monitor->Watch(known, false).coverage != Coverage::kNone) return 2;
  if (monitor->status().ok()) return 3;
  monitor->Settle();
  monitor->AddListener(&recorder);
  monitor->RemoveListener(&recorder);
#if defined(__SANITIZE_THREAD__)
  // TSan dies of a thread whose stack was that of a thread which the parent still has.
  if (how == Fork::kLibc) return 0;
#endif
  const auto own = MemoryMonitor::Shared();
  if (own == monitor) return 4;
  if (!own->status().ok()) return 5;
  Listening listening(*own);
  if (own->Watch(known, false).coverage != Coverage::kAll) return 6;
  munmap(reinterpret_cast<void*>(known.start), known.size());
  own->Settle();
  return listening.recorder.Heard(known) ? 0 : 7;
}

class MonitorFork : public ::testing::TestWithParam<Fork> {
 protected:
  void SetUp() override {
    monitor_ = MemoryMonitor::Shared();
    if (!monitor_->status().ok()) GTEST_SKIP() << monitor_->status();
  }
  std::shared_ptr<MemoryMonitor> monitor_;
};

TEST_P(MonitorFork, AnInheritedMonitorIsInertAndANewOneWorks) {
  const testing::Place memory(kBytes);
  const Range range = RangeOf(memory.data(), kBytes);
  Listening listening(*monitor_);
  ASSERT_EQ(monitor_->Watch(range, false).coverage, Coverage::kAll);
  EXPECT_EQ(ExitStatus(StartChild(GetParam(),
                                  [&] { return LookAtInherited(monitor_, range, GetParam()); })),
            0);
  EXPECT_EQ(listening.recorder.count(), 0U) << "the parent heard of what its child did";
  munmap(memory.data(), kBytes);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(range));
}

TEST_P(MonitorFork, AChildCanDestroyWhatItInherits) {
  const testing::Place memory(kBytes);
  ASSERT_EQ(monitor_->Watch(RangeOf(memory.data(), kBytes), false).coverage, Coverage::kAll);
  EXPECT_EQ(ExitStatus(StartChild(GetParam(),
                                  [&] {
                                    monitor_.reset();
                                    return UserfaultfdsOpen();
                                  })),
            0);
}

// The child of a raw clone keeps a copy of the descriptor for as long as it lives, so closing alone
// would leave the memory armed and the munmap without a reader.
TEST_P(MonitorFork, AParentThatStopsWatchingNeverWaitsForItsChild) {
  const testing::Deadline deadline("munmap after the monitor is gone, with a child alive");
  testing::Place memory(kBytes);
  std::memset(memory.data(), 1, kBytes);
  void* const target = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_EQ(monitor_->Watch(RangeOf(memory.data(), kBytes), false).coverage, Coverage::kAll);
  const char local = 0;
  ASSERT_EQ(monitor_->Watch(RangeOf(&local, 1), false).coverage, Coverage::kAll);
  const pid_t child = StartChild(GetParam(), [] {
    pause();
    return 0;
  });
  // Moved memory stays armed where it is now.
  ASSERT_EQ(mremap(memory.data(), 4 * kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target),
            target);
  monitor_.reset();
  EXPECT_EQ(munmap(target, kBytes), 0);
  EXPECT_EQ(munmap(memory.data() + 4 * kPage, 4 * kPage), 0);
  EXPECT_EQ(madvise(memory.data() + 8 * kPage, 4 * kPage, MADV_DONTNEED), 0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

INSTANTIATE_TEST_SUITE_P(Both, MonitorFork, ::testing::Values(Fork::kLibc, Fork::kRawClone),
                         [](const auto& row) {
                           return row.param == Fork::kLibc ? "Libc" : "RawClone";
                         });

TEST(ForkClosedFd, IsClosedInTheChildOnceAndStaysOpenInTheParent) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  ForkClosedFd reading(ends[0]);
  ForkClosedFd writing(ends[1]);
  const int status = ExitStatus(StartChild(Fork::kLibc, [&] {
    if (fcntl(reading.get(), F_GETFD) != -1) return 1;
    const int reused = dup(STDOUT_FILENO);
    if (reused != ends[0]) return 2;
    reading.Close();  // Must not close what has the number now.
    return fcntl(reused, F_GETFD) == -1 ? 3 : 0;
  }));
  EXPECT_EQ(status, 0);
  EXPECT_NE(fcntl(ends[0], F_GETFD), -1);
  ForkClosedFd moved(std::move(reading));
  EXPECT_EQ(moved.get(), ends[0]);
  moved.Close();
  EXPECT_EQ(fcntl(ends[0], F_GETFD), -1);
}

}  // namespace
}  // namespace linchpin
