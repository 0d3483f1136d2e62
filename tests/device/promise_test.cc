// What the cache promises of a device: exact remote rights in space and time, no leaked pin, and
// its behaviour under fork, mlockall and RLIMIT_MEMLOCK.
#include <grp.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <thread>

#include "tests/device/fixture.h"
#include "tests/testing/child.h"
#include "tests/testing/threads.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;

class Promise : public DeviceFixture {
 protected:
  Completion SendTo(char* at, std::size_t length, std::uint32_t rkey) {
    const auto done =
        courier_->Send(Pattern(3, length), {reinterpret_cast<std::uintptr_t>(at), rkey});
    EXPECT_TRUE(done.ok()) << done.status();
    return done.value_or(Completion::kGeneralError);
  }
};

TEST_F(Promise, APeerReachesExactlyTheBytesAskedFor) {
  const Mapped memory(4 * kPage);
  char* const at = memory.data() + 100;
  const Lease lease = Get(at, 1000, kRemoteWritable);
  EXPECT_EQ(SendTo(at, 1000, lease.rkey()), Completion::kSuccess);
  EXPECT_EQ(std::string(at, 1000), Pattern(3, 1000));
  EXPECT_EQ(SendTo(at, 1001, lease.rkey()), Completion::kRemoteAccessError);
  EXPECT_EQ(SendTo(at - 1, 1000, lease.rkey()), Completion::kRemoteAccessError);
  EXPECT_EQ(SendTo(at + 999, 1, lease.rkey()), Completion::kSuccess);
  EXPECT_EQ(SendTo(at + 1000, 1, lease.rkey()), Completion::kRemoteAccessError);
  EXPECT_EQ(at[-1], 0);
  EXPECT_EQ(at[1000], 0);
}

TEST_F(Promise, ALocalRegionsKeyGivesAPeerNothing) {
  const Mapped memory(kPage);
  const Lease lease = Get(memory.data(), kPage, kWrite);
  EXPECT_EQ(SendTo(memory.data(), 8, lease.rkey()), Completion::kRemoteAccessError);
}

TEST_F(Promise, ARemoteKeyIsDeadOnTheDeviceAfterItsLastLease) {
  const Mapped memory(kPage);
  Lease lease = Get(memory.data(), 64, kRemoteWritable);
  const std::uint32_t rkey = lease.rkey();
  EXPECT_EQ(SendTo(memory.data(), 64, rkey), Completion::kSuccess);
  lease = Lease();
  EXPECT_TRUE(WaitFor("deregistered", [&] { return cache_->stats().regions == 0; }));
  EXPECT_EQ(SendTo(memory.data(), 64, rkey), Completion::kRemoteAccessError);
}

// Pins that this kernel holds, by its own count; after asking it to bring its counters up to date.
std::int64_t PinsByVmstat() {
  std::ofstream("/proc/sys/vm/stat_refresh") << "1";
  std::ifstream vmstat("/proc/vmstat");
  std::string name;
  std::int64_t value = 0;
  std::int64_t pins = 0;
  while (vmstat >> name >> value) {
    if (name == "nr_foll_pin_acquired") pins += value;
    if (name == "nr_foll_pin_released") pins -= value;
  }
  return pins;
}

TEST_F(Promise, NoPinIsLeaked) {
  const std::uint64_t before = PinnedBytes();
  const std::int64_t before_by_vmstat = PinsByVmstat();
  for (int round = 0; round < 200; ++round) {
    const Mapped memory(8 * kPage);
    const Lease local = Get(memory.data(), 8 * kPage, kWrite);
    const Lease remote = Get(memory.data() + 5, 999, kRemoteWritable);
    const Lease upgraded = Get(memory.data(), kPage, kWrite | Access::kRelaxedOrdering);
    if (round % 3 == 0) munmap(memory.data() + kPage, kPage);
    static_cast<void>(cache_->Acquire(memory.data(), 9 * kPage, kWrite).ok());  // Beyond: EFAULT.
  }
  ASSERT_TRUE(cache_->Drain(absl::Seconds(30)).ok());
  EXPECT_TRUE(WaitFor("VmPin back", [&] { return PinnedBytes() == before; }));
  if (geteuid() != 0) GTEST_SKIP() << "only root may refresh /proc/vmstat";
  EXPECT_TRUE(WaitFor("vmstat back", [&] { return PinsByVmstat() == before_by_vmstat; }));
}

TEST_F(Promise, AParentsTransfersAreRightWhileAChildLives) {
  const Mapped memory(8 * kPage);
  for (const bool raw : {false, true}) {
    std::memcpy(memory.data(), Pattern(5, 8 * kPage).data(), 8 * kPage);
    const Lease held = Get(memory.data(), 8 * kPage, kRead);
    int go[2];
    ASSERT_EQ(pipe(go), 0);
    AwaitSleepOfOtherThreads();
    const pid_t child = raw ? static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) : fork();
    if (child == 0) {
      const bool inert = !cache_->Acquire(memory.data(), 8, kRead).ok();
      std::memset(memory.data(), 'c', 8 * kPage);  // In the child's copy only.
      char byte = 0;
      close(go[1]);
      static_cast<void>(!read(go[0], &byte, 1));  // Lives until the parent closes its end.
      _exit(inert ? 0 : 1);
    }
    std::memcpy(memory.data(), Pattern(6, 8 * kPage).data(), 8 * kPage);
    EXPECT_EQ(*courier_->Carry(memory.data(), 8 * kPage, held.lkey()), Pattern(6, 8 * kPage));
    {
      const Mapped gone(kPage);  // Unmapped while the child lives: must not hang.
      CarryThroughCache(gone.data(), kPage);
    }
    close(go[0]);
    close(go[1]);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
}

// Runs `body` in a forked child, which has no device, monitor or cache yet; what it returns as text
// is a failure.
void InChild(const Body& body) {
  AwaitSleepOfOtherThreads();
  EXPECT_EQ(RunInChild(body), "");
}

// A device, a courier and a cache, used as the parent would; empty when the bytes were right.
std::string UseACache(std::size_t bytes, int buffers, CacheStats* stats = nullptr) {
  auto device = OpenDevice(TestDeviceName());
  if (!device.ok()) return device.status().ToString();
  auto transport = (*device)->Connect();
  if (!transport.ok()) return transport.status().ToString();
  auto cache = RegistrationCache::Create((*device)->registrar());
  if (!cache.ok()) return cache.status().ToString();
  const Mapped target(bytes);
  const auto remote = (*cache)->Acquire(target.data(), bytes, kRemoteWritable);
  if (!remote.ok()) return remote.status().ToString();
  for (int i = 0; i < buffers; ++i) {
    const Mapped source(bytes);
    const std::string pattern = Pattern(static_cast<std::uint64_t>(i), bytes);
    std::memcpy(source.data(), pattern.data(), bytes);
    const auto lease = (*cache)->Acquire(source.data(), bytes, kRead);
    if (!lease.ok()) return lease.status().ToString();
    const LocalExtent local{source.data(), bytes, lease->lkey()};
    const auto done = (*transport)
                          ->Run({.operation = Operation::kWrite,
                                 .local = {&local, 1},
                                 .remote = {target.start(), remote->rkey()}});
    if (!done.ok()) return done.status().ToString();
    if (*done != Completion::kSuccess) return std::string(ToString(*done));
    if (std::string(target.data(), bytes) != pattern) return "wrong bytes";
  }
  if (stats != nullptr) *stats = (*cache)->stats();
  return "";
}

TEST_F(Promise, AForkedChildMayMakeACacheOfItsOwn) {
  InChild([] { return UseACache(4 * kPage, 4); });
}

TEST_F(Promise, LocksOfFutureMemoryAreNoHindrance) {
  InChild([] {
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) return std::string();  // Not allowed here.
    return UseACache(4 * kPage, 16);
  });
}

std::string BecomeNobodyWithLittleMemlock() {
  const rlimit limit{64 << 10, 64 << 10};
  const passwd* nobody = getpwnam("nobody");
  if (nobody == nullptr || setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return "setrlimit";
  if (setgroups(0, nullptr) != 0 || setgid(nobody->pw_gid) != 0 || setuid(nobody->pw_uid) != 0) {
    return "setuid";
  }
  return "";
}

TEST_F(Promise, AnOrdinaryUserWith64KiBOfMemlockCanWork) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  InChild([] {
    if (std::string failure = BecomeNobodyWithLittleMemlock(); !failure.empty()) return failure;
    return UseACache(2 * kPage, 40);
  });
}

TEST_F(Promise, BeyondMemlockTheErrorSaysHowMuchAndWho) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  InChild([]() -> std::string {
    if (std::string failure = BecomeNobodyWithLittleMemlock(); !failure.empty()) return failure;
    auto device = OpenDevice(TestDeviceName());
    if (!device.ok()) return device.status().ToString();
    auto cache = RegistrationCache::Create((*device)->registrar());
    if (!cache.ok()) return cache.status().ToString();
    const std::uint64_t before = PinnedBytes();
    {
      const Mapped memory(64 * kPage);
      const auto held = (*cache)->Acquire(memory.data(), 8 * kPage, kWrite);
      if (!held.ok()) return held.status().ToString();
      const auto refused = (*cache)->Acquire(memory.data() + 16 * kPage, 32 * kPage, kWrite);
      if (!absl::IsResourceExhausted(refused.status())) return refused.status().ToString();
      const std::string message(refused.status().message());
      for (const char* needed : {"needs 131072 more bytes", "65536 that RLIMIT_MEMLOCK allows",
                                 "1 leases hold 32768 bytes", "ulimit"}) {
        if (message.find(needed) == std::string::npos) return message + " lacks " + needed;
      }
    }
    if (!(*cache)->Drain(absl::Seconds(30)).ok()) return "not drained";
    return PinnedBytes() == before ? "" : "a pin is left";
  });
}

}  // namespace
}  // namespace linchpin::testing
