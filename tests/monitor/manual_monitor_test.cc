// The monitor that is the application itself.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/fd.h"
#include "linchpin/monitor.h"
#include "tests/monitor/place.h"
#include "tests/monitor/support.h"

namespace linchpin {
namespace {

using testing::kPage;
using testing::Listening;
using testing::RangeOf;

constexpr std::size_t kBytes = 16 * kPage;

TEST(ManualMonitor, TellsEveryListenerWhatTheApplicationSays) {
  ManualMonitor monitor;
  EXPECT_TRUE(monitor.status().ok());
  Listening first(monitor);
  Listening second(monitor);
  monitor.Changed({0x1000, 0x3000});
  EXPECT_TRUE(first.recorder.Heard({0x1000, 0x3000}));
  EXPECT_TRUE(second.recorder.Heard({0x1000, 0x3000}));
}

TEST(ManualMonitor, CallsNoListenerThatWasRemoved) {
  ManualMonitor monitor;
  testing::Recorder recorder;
  monitor.AddListener(&recorder);
  monitor.RemoveListener(&recorder);
  monitor.Changed({0x1000, 0x3000});
  EXPECT_EQ(recorder.count(), 0U);
}

TEST(ManualMonitor, KeepsPrivateAnonymousMemoryAndNothingElse) {
  ManualMonitor monitor;
  const testing::Place memory(kBytes);
  const WatchedExtent extent = monitor.Watch(RangeOf(memory.data() + 5, 1), false);
  EXPECT_EQ(extent.coverage, Coverage::kAll);
  EXPECT_EQ(extent.range, RangeOf(memory.data(), kBytes));
  EXPECT_TRUE(extent.uniform);
  const Fd fd(memfd_create("manual", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  ASSERT_NE(mmap(memory.data(), kPage, PROT_READ, MAP_SHARED | MAP_FIXED, fd.get(), 0), MAP_FAILED);
  EXPECT_EQ(monitor.Watch(RangeOf(memory.data(), 1), false).coverage, Coverage::kNone);
  EXPECT_EQ(monitor.Watch(RangeOf(memory.data(), kBytes), false).coverage, Coverage::kNone);
}

TEST(ManualMonitor, LooksAtTheMapsEachTime) {
  ManualMonitor monitor;
  testing::Place memory(kBytes);
  ASSERT_EQ(monitor.Watch(RangeOf(memory.data(), kBytes), false).coverage, Coverage::kAll);
  ASSERT_EQ(mprotect(memory.data(), kPage, PROT_READ), 0);
  EXPECT_FALSE(monitor.Watch(RangeOf(memory.data(), kBytes), false).uniform);
}

class ManualMonitorFork : public ::testing::TestWithParam<testing::Fork> {};

TEST_P(ManualMonitorFork, IsInertInTheChild) {
  auto monitor = std::make_unique<ManualMonitor>();
  Listening listening(*monitor);
  const testing::Place memory(kBytes);
  const int status = testing::ExitStatus(testing::StartChild(GetParam(), [&] {
    monitor->Changed({0x1000, 0x2000});
    if (listening.recorder.count() != 0) return 1;
    if (monitor->status().ok()) return 2;
    if (monitor->Watch(RangeOf(memory.data(), 1), false).coverage != Coverage::kNone) return 3;
    monitor->RemoveListener(&listening.recorder);
    monitor.reset();
    return 0;
  }));
  EXPECT_EQ(status, 0);
}

INSTANTIATE_TEST_SUITE_P(Both, ManualMonitorFork,
                         ::testing::Values(testing::Fork::kLibc, testing::Fork::kRawClone),
                         [](const auto& row) {
                           return row.param == testing::Fork::kLibc ? "Libc" : "RawClone";
                         });

}  // namespace
}  // namespace linchpin
