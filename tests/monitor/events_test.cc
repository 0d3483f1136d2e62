// Each way to take pages from a watched mapping that the kernel makes an event of (facts, section
// 2): done for real, and heard by the time the call has returned and the monitor has settled.
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "linchpin/monitor.h"
#include "tests/monitor/place.h"
#include "tests/monitor/support.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

namespace linchpin {
namespace {

using testing::kPage;
using testing::Listening;
using testing::RangeOf;

constexpr std::size_t kPages = 16;
constexpr std::size_t kBytes = kPages * kPage;

// What an operation changed; nothing when the kernel cannot do it.
struct Change {
  std::vector<Range> ranges;
  std::string skipped;
};

struct Event {
  const char* name;
  std::function<Change(char* memory)> make;  // Of kBytes, private anonymous, touched, watched.
};

Change Done(bool done, std::vector<Range> ranges) {
  return {std::move(ranges), done ? std::string() : ErrnoText(errno)};
}

Change Advise(char* memory, int advice) {
  return Done(madvise(memory + kPage, 3 * kPage, advice) == 0,
              {RangeOf(memory + kPage, 3 * kPage)});
}

void* Reserve(std::size_t bytes) {
  return mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

Change MoveTo(char* memory, void* target, int flags) {
  const void* moved = mremap(memory, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED | flags, target);
  return Done(moved == target, {RangeOf(memory, kBytes), RangeOf(target, kBytes)});
}

Change AdviseByUring(char* memory) {
  io_uring ring{};
  if (const int error = io_uring_queue_init(4, &ring, 0); error != 0) {
    return {{}, "no io_uring: " + ErrnoText(-error)};
  }
  io_uring_sqe* const sqe = io_uring_get_sqe(&ring);
  io_uring_prep_madvise(sqe, memory, 2 * kPage, MADV_DONTNEED);
  io_uring_submit(&ring);
  io_uring_cqe* cqe = nullptr;
  io_uring_wait_cqe(&ring, &cqe);
  const int result = cqe->res;
  io_uring_queue_exit(&ring);
  errno = -result;
  return Done(result == 0, {RangeOf(memory, 2 * kPage)});
}

Change AdviseByProcess(char* memory) {
  const Fd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  const iovec part{memory, 2 * kPage};
  const auto advised = syscall(SYS_process_madvise, self.get(), &part, 1, MADV_DONTNEED, 0);
  return Done(advised == static_cast<long>(2 * kPage), {RangeOf(memory, 2 * kPage)});
}

const Event kEvents[] = {
    {"MunmapOfAll",
     [](char* memory) { return Done(munmap(memory, kBytes) == 0, {RangeOf(memory, kBytes)}); }},
    {"MunmapOfAPart",
     [](char* memory) {
       return Done(munmap(memory + 4 * kPage, 2 * kPage) == 0,
                   {RangeOf(memory + 4 * kPage, 2 * kPage)});
     }},
    {"MunmapAsARawSystemCall",
     [](char* memory) {
       return Done(syscall(SYS_munmap, memory, kBytes) == 0, {RangeOf(memory, kBytes)});
     }},
    {"MmapFixedOverIt",
     [](char* memory) {
       const void* mapped = mmap(memory + kPage, kPage, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
       return Done(mapped == memory + kPage, {RangeOf(memory + kPage, kPage)});
     }},
    {"MmapFixedAsARawSystemCall",
     [](char* memory) {
       const auto mapped = syscall(SYS_mmap, memory, kBytes, PROT_READ,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
       return Done(mapped != -1, {RangeOf(memory, kBytes)});
     }},
    {"MremapThatShrinks",
     [](char* memory) {
       return Done(mremap(memory, kBytes, 2 * kPage, 0) == memory,
                   {RangeOf(memory + 2 * kPage, kBytes - 2 * kPage)});
     }},
    {"MremapThatMoves", [](char* memory) { return MoveTo(memory, Reserve(kBytes), 0); }},
    {"MremapThatMovesAndKeepsTheOldRange",
     [](char* memory) { return MoveTo(memory, Reserve(kBytes), MREMAP_DONTUNMAP); }},
    {"MremapOntoIt",
     [](char* memory) {
       void* const source =
           mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       const void* moved = mremap(source, kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, memory);
       return Done(moved == memory, {RangeOf(memory, kBytes)});
     }},
    {"MadviseDontneed", [](char* memory) { return Advise(memory, MADV_DONTNEED); }},
    {"MadviseFree", [](char* memory) { return Advise(memory, MADV_FREE); }},
    {"MadviseDontneedOfLockedMemory",
     [](char* memory) {
       if (mlock(memory, kBytes) != 0) return Done(false, {});
       return Advise(memory, MADV_DONTNEED_LOCKED);
     }},
    {"ProcessMadvise", AdviseByProcess},
    {"MadviseThroughIoUring", AdviseByUring},
};

class MonitorEvents : public ::testing::TestWithParam<Event> {
 protected:
  void SetUp() override {
    monitor_ = MemoryMonitor::Shared();
    if (!monitor_->status().ok()) GTEST_SKIP() << monitor_->status();
  }
  std::shared_ptr<MemoryMonitor> monitor_;
};

TEST_P(MonitorEvents, IsToldToEveryListener) {
  const testing::Deadline deadline(GetParam().name);
  Listening first(*monitor_);
  Listening second(*monitor_);
  testing::Place memory(kBytes);
  std::memset(memory.data(), 1, kBytes);
  const WatchedExtent extent = monitor_->Watch(RangeOf(memory.data(), kBytes), false);
  ASSERT_EQ(extent.coverage, Coverage::kAll);
  ASSERT_TRUE(extent.uniform);
  const Change change = GetParam().make(memory.data());
  if (!change.skipped.empty()) GTEST_SKIP() << change.skipped;
  monitor_->Settle();
  for (const Range& range : change.ranges) {
    EXPECT_TRUE(first.recorder.Heard(range)) << range.ToString();
    EXPECT_TRUE(second.recorder.Heard(range)) << range.ToString();
  }
}

// What was unmapped and mapped again at the same address is not armed by the kernel: the extent
// must not be known any more, so that the second look arms it.
TEST_P(MonitorEvents, IsSeenASecondTimeAtTheSameAddress) {
  const testing::Deadline deadline(GetParam().name);
  Listening listening(*monitor_);
  testing::Place memory(kBytes);
  for (int i = 0; i < 3; ++i) {
    void* const mapped = mmap(memory.data(), kBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    ASSERT_EQ(mapped, memory.data());
    monitor_->Settle();
    std::memset(memory.data(), 1, kBytes);
    // Not always all: what was discarded a moment ago is promised less for a while.
    ASSERT_NE(monitor_->Watch(RangeOf(memory.data(), kBytes), false).coverage, Coverage::kNone);
    listening.recorder.Clear();
    const Change change = GetParam().make(memory.data());
    if (!change.skipped.empty()) GTEST_SKIP() << change.skipped;
    monitor_->Settle();
    for (const Range& range : change.ranges) {
      EXPECT_TRUE(listening.recorder.Heard(range)) << range.ToString();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seen, MonitorEvents, ::testing::ValuesIn(kEvents),
                         [](const auto& row) { return std::string(row.param.name); });

class Monitor : public ::testing::Test {
 protected:
  void SetUp() override {
    monitor_ = MemoryMonitor::Shared();
    if (!monitor_->status().ok()) GTEST_SKIP() << monitor_->status();
  }
  std::shared_ptr<MemoryMonitor> monitor_;
};

TEST_F(Monitor, HearsOfARemovedPartOfAMemfd) {
  Listening listening(*monitor_);
  const Fd fd(memfd_create("removed", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_EQ(monitor_->Watch(RangeOf(memory, kBytes), false).coverage, Coverage::kMappingChanges);
  ASSERT_EQ(madvise(memory, kPage, MADV_REMOVE), 0) << ErrnoText(errno);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(memory, kPage)));
  munmap(memory, kBytes);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(memory, kBytes)));
}

TEST_F(Monitor, HearsOfAHeapThatShrinks) {
  const testing::Deadline deadline("brk");
  Listening listening(*monitor_);
  constexpr std::size_t kGrowth = 1 << 20;
  char* const old_end = static_cast<char*>(sbrk(kGrowth));
  ASSERT_NE(old_end, reinterpret_cast<char*>(-1));
  const WatchedExtent extent = monitor_->Watch(RangeOf(old_end, kGrowth), false);
  if (sbrk(0) != old_end + kGrowth) GTEST_SKIP() << "the allocator has grown the heap meanwhile";
  EXPECT_EQ(extent.coverage, Coverage::kAll);
  ASSERT_EQ(brk(old_end), 0);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(old_end, kGrowth - kPage)));
}

TEST_F(Monitor, HearsOfAFreeThatReachesTheKernel) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer's allocator keeps what is freed";
#endif
  Listening listening(*monitor_);
  constexpr std::size_t kLarge = std::size_t{64} << 20;
  void* const memory = std::malloc(kLarge);
  const Range range = RangeOf(memory, kLarge);
  ASSERT_EQ(monitor_->Watch(range, false).coverage, Coverage::kAll);
  std::free(memory);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(range));
}

TEST_F(Monitor, WatchesWhatMremapMovedThere) {
  const testing::Deadline deadline("moved memory");
  Listening listening(*monitor_);
  testing::Place memory(kBytes);
  void* const target = Reserve(kBytes);
  ASSERT_EQ(monitor_->Watch(RangeOf(memory.data(), kBytes), false).coverage, Coverage::kAll);
  ASSERT_EQ(mremap(memory.data(), kBytes, kBytes, MREMAP_MAYMOVE | MREMAP_FIXED, target), target);
  monitor_->Settle();
  EXPECT_EQ(monitor_->Watch(RangeOf(target, kBytes), false).coverage, Coverage::kAll);
  listening.recorder.Clear();
  munmap(target, kBytes);
  monitor_->Settle();
  EXPECT_TRUE(listening.recorder.Heard(RangeOf(target, kBytes)));
}

TEST_F(Monitor, LetsTouchingFreshMemoryAlone) {
  testing::Place memory(kBytes);
  ASSERT_EQ(monitor_->Watch(RangeOf(memory.data(), kBytes), false).coverage, Coverage::kAll);
  const testing::Deadline deadline("a page fault");  // Would wait for somebody to resolve it.
  std::memset(memory.data(), 1, kBytes);
  EXPECT_EQ(memory.data()[kBytes - 1], 1);
}

TEST_F(Monitor, HearsUnderMlockall) {
  monitor_.reset();
  const int status = testing::ExitStatus(testing::StartChild(testing::Fork::kLibc, [] {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return 77;
    const auto monitor = MemoryMonitor::Shared();
    if (!monitor->status().ok()) return 2;
    Listening listening(*monitor);
    void* const memory =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (monitor->Watch(RangeOf(memory, kBytes), false).coverage != Coverage::kAll) return 3;
    if (madvise(memory, kPage, MADV_DONTNEED_LOCKED) != 0) return 4;
    monitor->Settle();
    if (!listening.recorder.Heard(RangeOf(memory, kPage))) return 5;
    munmap(memory, kBytes);
    monitor->Settle();
    return listening.recorder.Heard(RangeOf(memory, kBytes)) ? 0 : 6;
  }));
  if (status == 77) GTEST_SKIP() << "mlockall is not allowed here (RLIMIT_MEMLOCK)";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace linchpin
