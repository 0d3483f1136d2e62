// Tests that a forked child leaves the parent's loopback device alone, and is not kept waiting by
// it.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/fd.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/child.h"

namespace linchpin {
namespace {

using testing::Body;
using testing::Complaint;
using testing::DropPrivilege;
using testing::kAllRights;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;
using testing::PinnedBytes;
using testing::RunInChild;
using testing::SetLimit;

std::size_t OpenRings() {
  std::size_t rings = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const auto target = std::filesystem::read_symlink(entry.path(), gone);
    if (!gone && target.string().find("io_uring") != std::string::npos) ++rings;
  }
  return rings;
}

class LoopbackFork : public LoopbackTest {};

TEST_F(LoopbackFork, InAForkedChildTheDeviceIsInert) {
  const Mapped memory(2 * kPage);
  Registration region = Register(memory);
  const Body body = [&]() -> Complaint {
    const LocalExtent local{memory.data(), 8, region.keys[0].lkey};
    if (!absl::IsFailedPrecondition(device_->Register(region.range, kAllRights).status())) {
      return "Register";
    }
    if (Write(local, Remote(region, 64)) != Completion::kGeneralError) return "Write";
    if (Read(local, Remote(region, 64)) != Completion::kGeneralError) return "Read";
    if (device_->CompareAndSwap(local, Remote(region, 64), 0, 1) != Completion::kGeneralError) {
      return "CompareAndSwap";
    }
    if (device_->limits().max_regions != 0) return "limits";
    Registration copy = region;
    if (!device_->Deregister(copy).ok() || copy.handle != 0) return "Deregister";
    device_.reset();
    if (OpenRings() != 0) return "a ring is still open";
    auto own = LoopbackDevice::Create();
    if (!own.ok()) return own.status().ToString();
    return (*own)->Register(region.range, kAllRights).ok() ? "" : "no registration of its own";
  };
  EXPECT_EQ(RunInChild(body), "");
  EXPECT_EQ(RunInChild(body, /*raw_clone=*/true), "");
  std::strcpy(memory.data(), "parent");
  ASSERT_EQ(Write(Local(region, 0, 7), Remote(region, 64)), Completion::kSuccess);
  EXPECT_STREQ(memory.data() + 64, "parent");
  EXPECT_TRUE(device_->Deregister(region).ok());
}

// A lock that a parent's thread holds stays held in the child; nothing there may wait for it.
TEST_F(LoopbackFork, AForkedChildHoldsNoRing) {
  ASSERT_GT(OpenRings(), 0U);
  EXPECT_EQ(RunInChild([] { return std::to_string(OpenRings()); }), "0");
}

TEST_F(LoopbackFork, AChildThatNoForkHandlerRanInClosesTheRingsWithTheDevice) {
  EXPECT_EQ(RunInChild(
                [&] {
                  const std::size_t before = OpenRings();
                  device_.reset();
                  return std::to_string(before) + " " + std::to_string(OpenRings());
                },
                /*raw_clone=*/true),
            std::to_string(OpenRings()) + " 0");
}

TEST_F(LoopbackFork, AChildOfABusyProcessDestroysItsCopyAtOnce) {
  const Mapped memory(1 << 20);
  const Registration region = Register(memory);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      while (!stop) {
        auto own = device_->Register(region.range, kAllRights);
        const Completion completion =
            Write(Local(region, t * 100000, 90000), Remote(region, 600000));
        if (!own.ok() || completion != Completion::kSuccess || !device_->Deregister(*own).ok()) {
          ++wrong;
        }
      }
    });
  }
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(RunInChild([&]() -> Complaint {
                if (device_->Register(region.range, kAllRights).ok()) return "registered";
                device_.reset();
                return "";
              }),
              "");
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// Fills the lock limit of a user of its own, and then waits to be killed; its child outlives it.
Complaint PinAndFork(int begun, int ended) {
  constexpr std::size_t kBytes = 1 << 20;
  SetLimit(RLIMIT_MEMLOCK, kBytes + 2 * kPage);
  if (!DropPrivilege(3)) return "still privileged";
  const auto device = LoopbackDevice::Create();  // Refused until the last one's pins are gone.
  if (!device.ok()) return device.status().ToString();
  const Mapped memory(kBytes);
  const auto made = (*device)->Register({memory.start(), memory.start() + kBytes}, kAllRights);
  if (!made.ok()) return made.status().ToString();
  char byte = '!';
  if (fork() == 0) {
    const bool said = write(begun, &byte, 1) == 1;
    _exit(said && read(ended, &byte, 1) == 0 ? 0 : 1);
  }
  pause();
  return "not killed";
}

TEST_F(LoopbackFork, PinsEndWithAKilledProcessWhileItsChildLives) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const Fd ended(ends[0]);
  Fd ending(ends[1]);  // Its end is told to the children by closing it.
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(testing::WaitFor("the whole limit pinned", [&] {
      std::array<int, 2> pipe_ends{};
      if (pipe(pipe_ends.data()) != 0) return false;
      const Fd read_end(pipe_ends[0]);
      Fd write_end(pipe_ends[1]);
      const pid_t child = fork();
      if (child == 0) {
        alarm(60);
        ending.Reset(-1);
        _exit(PinAndFork(write_end.get(), ended.get()).empty() ? 0 : 1);
      }
      write_end.Reset(-1);
      char byte = 0;
      const bool pinned = read(read_end.get(), &byte, 1) == 1;
      kill(child, SIGKILL);
      int status = 0;
      waitpid(child, &status, 0);
      return pinned;
    }));
  }
}

// As when the descriptors were passed on.
TEST_F(LoopbackFork, PinsEndWithTheDeviceWhileAnotherProcessHoldsItsDescriptors) {
  const Mapped memory(64 * kPage);
  Register(memory);
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const auto child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (child == 0) {
    write_end.Reset(-1);
    char byte = 0;
    _exit(OpenRings() > 0 && read(read_end.get(), &byte, 1) == 0 ? 0 : 1);
  }
  EXPECT_EQ(PinnedBytes() - pinned_at_start_, memory.size());
  device_.reset();
  EXPECT_EQ(PinnedBytes(), pinned_at_start_);
  write_end.Reset(-1);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace linchpin
