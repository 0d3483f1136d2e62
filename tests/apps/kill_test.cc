// A tool that is killed in mid-transfer leaves nothing pinned. Looks at counters of the whole
// machine, so it runs alone.
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

#include "apps/linchpin/proc_file.h"
#include "tests/apps/tool.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {
namespace {

// Pages that all processes of the machine have pinned. The counters lag by CPU until refreshed.
std::int64_t PinnedPagesOfTheMachine() {
  std::ofstream("/proc/sys/vm/stat_refresh") << "1\n";
  std::ifstream vmstat("/proc/vmstat");
  std::int64_t pinned = 0;
  std::string name;
  for (std::int64_t value = 0; vmstat >> name >> value;) {
    if (name == "nr_foll_pin_acquired") pinned += value;
    if (name == "nr_foll_pin_released") pinned -= value;
  }
  return pinned;
}

// The seconds for which a process has run, of its main thread.
double SecondsOnCpu(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/schedstat");
  double nanoseconds = 0;
  file >> nanoseconds;
  return nanoseconds / 1e9;
}

class Killed : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string reason = WhyNotUsable(GetParam()); !reason.empty()) {
      GTEST_SKIP() << reason;
    }
    if (geteuid() != 0) GTEST_SKIP() << "only root can refresh the machine's counters";
  }
};

INSTANTIATE_TEST_SUITE_P(Each, Killed, ::testing::ValuesIn(Devices()),
                         [](const auto& test) { return test.param; });

TEST_P(Killed, InMidTransferNothingStaysPinned) {
  const std::int64_t before = PinnedPagesOfTheMachine();
  Tool tool({"bench", "write", "-d", GetParam(), "-n", "1000000000"});
  const std::string status = "/proc/" + std::to_string(tool.pid()) + "/status";
  // 16 buffers of 64 KiB on either side, registered before the first transfer.
  constexpr std::uint64_t kBuffers = std::uint64_t{2} * 16 * 65536;
  ASSERT_TRUE(WaitFor("the tool's pins",
                      [&] { return ReadFieldBytes(status, "VmPin").value_or(0) >= kBuffers; }));
  EXPECT_GE(PinnedPagesOfTheMachine() - before, static_cast<std::int64_t>(kBuffers / 4096));
  // Filling the buffers takes a few milliseconds: from then on it transfers, for hours.
  const double start = SecondsOnCpu(tool.pid());
  ASSERT_TRUE(WaitFor("transfers", [&] { return SecondsOnCpu(tool.pid()) - start > 0.5; }));
  tool.Kill(SIGKILL);
  EXPECT_EQ(tool.Wait().status, -SIGKILL);
  EXPECT_TRUE(WaitFor("nothing pinned", [&] { return PinnedPagesOfTheMachine() <= before; }))
      << before << " pages before, " << PinnedPagesOfTheMachine() << " after";
}

}  // namespace
}  // namespace linchpin::testing
