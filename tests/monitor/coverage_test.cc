// What a monitor promises of each kind of mapping: the watching table of docs/design.md, and that
// what makes no event (facts, section 2, "Not seen") is never promised.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/memory/procmap.h"
#include "linchpin/monitor.h"
#include "tests/monitor/place.h"
#include "tests/monitor/support.h"

namespace linchpin {
namespace {

using testing::kPage;
using testing::Listening;
using testing::RangeOf;

constexpr std::size_t kBytes = 16 * kPage;
constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13.

class MonitorCoverage : public ::testing::Test {
 protected:
  void SetUp() override {
    monitor_ = MemoryMonitor::Shared();
    if (!monitor_->status().ok()) GTEST_SKIP() << monitor_->status();
  }

  Coverage CoverageOf(const void* start, std::size_t bytes = kBytes) {
    return monitor_->Watch(RangeOf(start, bytes), false).coverage;
  }

  // The kernel has WP_ASYNC: then a mapping of an ordinary file can be armed at all.
  bool WatchesFiles() {
    const Fd fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    void* const text = mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    const bool watched = CoverageOf(text, kPage) != Coverage::kNone;
    munmap(text, kPage);
    return watched;
  }

  std::shared_ptr<MemoryMonitor> monitor_;
};

TEST_F(MonitorCoverage, OfPrivateAnonymousMemoryIsAll) {
  const testing::Place memory(kBytes);
  const WatchedExtent extent = monitor_->Watch(RangeOf(memory.data() + 100, 10), false);
  EXPECT_EQ(extent.coverage, Coverage::kAll);
  EXPECT_EQ(extent.range, RangeOf(memory.data(), kBytes));
  EXPECT_TRUE(extent.uniform);
  EXPECT_EQ(extent.page_size, kPage);
}

TEST_F(MonitorCoverage, OfTheHeapIsAll) {
  const void* const grown = sbrk(kPage);  // Sanitizers have no heap there by themselves.
  EXPECT_EQ(CoverageOf(grown, 1), Coverage::kAll);
}

TEST_F(MonitorCoverage, OfTheStackIsAllAlsoWhereItHasGrown) {
  const char local = 0;
  const WatchedExtent before = monitor_->Watch(RangeOf(&local, 1), false);
  EXPECT_EQ(before.coverage, Coverage::kAll);
  constexpr std::size_t kGrowth = std::size_t{512} * 1024;
  const std::function<void()> grow = [this] {
    std::array<char, kGrowth> large;
    large.fill(1);
    EXPECT_EQ(CoverageOf(large.data(), kGrowth), Coverage::kAll);
  };
  grow();
}

TEST_F(MonitorCoverage, OfAThreadsStackIsAllAndTheThreadCanEnd) {
  const testing::Deadline deadline("a thread's end");
  for (int i = 0; i < 20; ++i) {
    std::thread thread([this] {
      const char local = 0;
      EXPECT_EQ(CoverageOf(&local, 1), Coverage::kAll);
    });
    thread.join();
  }
}

TEST_F(MonitorCoverage, OfAnonymousMemoryWithoutRightsIsAll) {
  const testing::Place memory(kBytes, PROT_NONE);
  EXPECT_EQ(CoverageOf(memory.data()), Coverage::kAll);
}

TEST_F(MonitorCoverage, OfAnonymousHugePagesIsAllOrOfMappingChangesWhenShared) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  constexpr int kFlags = MAP_ANONYMOUS | MAP_HUGETLB;
  void* const own = mmap(nullptr, kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | kFlags, -1, 0);
  void* const shared = mmap(nullptr, kHuge, PROT_READ | PROT_WRITE, MAP_SHARED | kFlags, -1, 0);
  if (own == MAP_FAILED || shared == MAP_FAILED) {
    GTEST_SKIP() << "too few free huge pages (vm.nr_hugepages)";
  }
  Listening listening(*monitor_);
  const WatchedExtent extent = monitor_->Watch(RangeOf(own, 1), false);
  EXPECT_EQ(extent.coverage, Coverage::kAll);
  EXPECT_EQ(extent.page_size, kHuge);
  EXPECT_EQ(CoverageOf(shared, kHuge), Coverage::kMappingChanges);
  munmap(own, kHuge);
  munmap(shared, kHuge);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(own, kHuge)));
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(shared, kHuge)));
}

TEST_F(MonitorCoverage, OfSharedMemoryIsMappingChangesButNotTruncation) {
  Listening listening(*monitor_);
  const Fd fd(memfd_create("shared", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  EXPECT_EQ(CoverageOf(memory), Coverage::kMappingChanges);
  void* const anonymous =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT_EQ(CoverageOf(anonymous), Coverage::kMappingChanges);
  munmap(anonymous, kBytes);
  munmap(memory, kBytes);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(memory, kBytes)));
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(anonymous, kBytes)));
}

TEST_F(MonitorCoverage, OfFilesIsMappingChangesWhereTheKernelCan) {
  const bool any_file = WatchesFiles();
  std::string path = "/var/tmp/linchpin-coverage-XXXXXX";
  const Fd fd(mkstemp(path.data()));
  ASSERT_TRUE(fd.valid());
  unlink(path.c_str());
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  Listening listening(*monitor_);
  for (const int sharing : {MAP_SHARED, MAP_PRIVATE}) {
    void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, sharing, fd.get(), 0);
    const Coverage coverage = CoverageOf(memory);
    EXPECT_NE(coverage, Coverage::kAll);
    // Without WP_ASYNC it depends on the file system: tmpfs can be watched.
    if (any_file) {
      EXPECT_EQ(coverage, Coverage::kMappingChanges);
    }
    listening.recorder.Clear();
    munmap(memory, kBytes);
    monitor_->Settle();
    EXPECT_EQ(listening.recorder.Heard(RangeOf(memory, kBytes)), coverage != Coverage::kNone);
  }
}

TEST_F(MonitorCoverage, OfASharedMappingOfAReadOnlyDescriptorIsNone) {
  const Fd fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  void* const memory = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_EQ(CoverageOf(memory, kPage), Coverage::kNone);
  munmap(memory, kPage);
}

TEST_F(MonitorCoverage, OfSysvSharedMemoryIsNone) {
  const int id = shmget(IPC_PRIVATE, kBytes, IPC_CREAT | 0600);
  if (id < 0) GTEST_SKIP() << "no SysV shared memory here";
  const void* const memory = shmat(id, nullptr, 0);
  shmctl(id, IPC_RMID, nullptr);
  EXPECT_EQ(CoverageOf(memory), Coverage::kNone);
  shmdt(memory);
}

TEST_F(MonitorCoverage, OfSecretMemoryIsNone) {
  const Fd fd(static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC)));
  if (!fd.valid() || ftruncate(fd.get(), kBytes) != 0) GTEST_SKIP() << "no memfd_secret here";
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) GTEST_SKIP() << "secret memory cannot be mapped here";
  EXPECT_EQ(CoverageOf(memory), Coverage::kNone);
  munmap(memory, kBytes);
}

TEST_F(MonitorCoverage, OfAHoleIsNone) {
  testing::Place memory(kBytes);
  ASSERT_EQ(munmap(memory.data() + kPage, kPage), 0);
  const WatchedExtent across = monitor_->Watch(RangeOf(memory.data(), 3 * kPage), false);
  EXPECT_EQ(across.coverage, Coverage::kNone);
  EXPECT_FALSE(across.uniform);
  EXPECT_EQ(CoverageOf(memory.data() + kPage, 1), Coverage::kNone);
  EXPECT_EQ(CoverageOf(memory.data(), kPage), Coverage::kAll);
}

TEST_F(MonitorCoverage, OfWhatAnotherUserfaultfdOwnsIsNoneUntilItLetsGo) {
  testing::Place memory(kBytes);
  Fd foreign(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY)));
  ASSERT_TRUE(foreign.valid()) << ErrnoText(errno);
  uffdio_api api{UFFD_API, 0, 0};
  ASSERT_EQ(ioctl(foreign.get(), UFFDIO_API, &api), 0);
  uffdio_register request{{memory.start(), kBytes}, UFFDIO_REGISTER_MODE_MISSING, 0};
  ASSERT_EQ(ioctl(foreign.get(), UFFDIO_REGISTER, &request), 0) << ErrnoText(errno);
  EXPECT_EQ(CoverageOf(memory.data()), Coverage::kNone);
  foreign.Reset(-1);
  EXPECT_EQ(CoverageOf(memory.data()), Coverage::kAll);
}

TEST_F(MonitorCoverage, OfARangeOverSeveralMappingsIsTheLeastAndAllAreWatched) {
  const testing::Place memory(kBytes);
  const Fd fd(memfd_create("inside", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  char* const inside = memory.data() + 4 * kPage;
  ASSERT_EQ(mmap(inside, kPage, PROT_READ, MAP_SHARED | MAP_FIXED, fd.get(), 0), inside);
  Listening listening(*monitor_);
  const WatchedExtent extent =
      monitor_->Watch(RangeOf(memory.data() + 3 * kPage + 1, 2 * kPage), false);
  EXPECT_EQ(extent.range, RangeOf(memory.data() + 3 * kPage, 3 * kPage));
  EXPECT_FALSE(extent.uniform);
  EXPECT_EQ(extent.coverage, Coverage::kMappingChanges);
  munmap(memory.data() + 7 * kPage, kPage);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(memory.data() + 7 * kPage, kPage)));
  munmap(inside, kPage);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(inside, kPage)));
}

// mprotect makes no event: the old answer stays until somebody asks for a fresh look.
TEST_F(MonitorCoverage, AFreshLookSeesAChangeOfProtection) {
  const testing::Place memory(kBytes);
  ASSERT_TRUE(monitor_->Watch(RangeOf(memory.data(), kBytes), false).uniform);
  ASSERT_EQ(mprotect(memory.data() + kPage, kPage, PROT_READ), 0);
  EXPECT_EQ(monitor_->Watch(RangeOf(memory.data(), 1), false).range,
            RangeOf(memory.data(), kBytes));
  EXPECT_FALSE(monitor_->Watch(RangeOf(memory.data(), kBytes), true).uniform);
  EXPECT_EQ(monitor_->Watch(RangeOf(memory.data(), 1), false).range, RangeOf(memory.data(), kPage));
  EXPECT_EQ(monitor_->Watch(RangeOf(memory.data() + kPage, 1), true).range,
            RangeOf(memory.data() + kPage, kPage));
}

TEST_F(MonitorCoverage, MappingsThatTheKernelJoinsAreOneExtent) {
  const testing::Place memory(kBytes);
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  ASSERT_EQ(CoverageOf(memory.data(), 1), Coverage::kAll);
  ASSERT_EQ(CoverageOf(memory.data() + kPage, 1), Coverage::kAll);
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ | PROT_WRITE), 0);
  const WatchedExtent both = monitor_->Watch(RangeOf(memory.data(), 2 * kPage), false);
  EXPECT_TRUE(both.uniform);
  EXPECT_EQ(both.range, RangeOf(memory.data(), kBytes));
}

TEST_F(MonitorCoverage, OfNoRangeIsNone) {
  EXPECT_EQ(monitor_->Watch(Range{}, false).coverage, Coverage::kNone);
  EXPECT_EQ(monitor_->Watch({1, UINTPTR_MAX}, false).coverage, Coverage::kNone);
}

// The known limits (docs/decisions/0001-guard-regions.md). When one of these fails, the kernel has
// learned to tell, and the limit can go.
TEST_F(MonitorCoverage, GuardRegionsMakeNoEvent) {
  const testing::Place memory(kBytes);
  std::memset(memory.data(), 1, kBytes);
  Listening listening(*monitor_);
  ASSERT_EQ(CoverageOf(memory.data()), Coverage::kAll);
  if (madvise(memory.data(), kPage, kGuardInstall) != 0) GTEST_SKIP() << "no guard regions here";
  monitor_->Settle();
  EXPECT_FALSE(listening.recorder.Heard(RangeOf(memory.data(), kPage)));
}

TEST_F(MonitorCoverage, SysvMemoryAttachedOverAnonymousMemoryMakesNoEvent) {
  const int id = shmget(IPC_PRIVATE, kBytes, IPC_CREAT | 0600);
  if (id < 0) GTEST_SKIP() << "no SysV shared memory here";
  const testing::Place memory(kBytes);
  Listening listening(*monitor_);
  ASSERT_EQ(CoverageOf(memory.data()), Coverage::kAll);
  const void* const attached = shmat(id, memory.data(), SHM_REMAP);
  shmctl(id, IPC_RMID, nullptr);
  ASSERT_EQ(attached, memory.data()) << ErrnoText(errno);
  monitor_->Settle();
  EXPECT_FALSE(listening.recorder.Heard(RangeOf(memory.data(), kBytes)));
  EXPECT_EQ(monitor_->Watch(RangeOf(memory.data(), kBytes), true).coverage, Coverage::kNone);
  shmdt(attached);
}

}  // namespace
}  // namespace linchpin
