// What holds for an RDMA device alone: its refusals as facts of the kernel, its pins, its objects
// in a forked child, and its port going down. Skipped on the loopback device.
#include <infiniband/verbs.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "lib/base/fd.h"
#include "tests/device/test_device.h"
#include "tests/testing/pins.h"

namespace linchpin {
namespace {

using ::linchpin::testing::DeviceTest;
using ::linchpin::testing::PinnedBytes;
using ::linchpin::testing::TestDeviceName;
using ::linchpin::testing::TestMemory;
using ::linchpin::testing::WaitFor;
using ::testing::HasSubstr;

constexpr std::size_t kBytes = 64 << 10;
constexpr Access kRemoteAll = kRemoteRights | Access::kLocalWrite;

class VerbsDeviceTest : public DeviceTest {
 protected:
  void SetUp() override {
    if (TestDeviceName() == "loopback") GTEST_SKIP() << "the device under test is no RDMA device";
    DeviceTest::SetUp();
  }

  absl::Status Refusal(Range range, Access access) {
    auto registration = registrar().Register(range, access);
    if (registration.ok()) Deregister(*registration);
    return registration.status();
  }

  // Writes the first half of registered memory to the second, and compares.
  Completion WriteHalf(Transport& transport, TestMemory& memory, const Registration& mr) {
    const std::size_t half = memory.size() / 2;
    memory.Fill(++seed_);
    const LocalExtent from{memory.data(), half, mr.keys[0].lkey};
    const auto completion = transport.Run({.operation = Operation::kWrite,
                                           .local = {&from, 1},
                                           .remote = {memory.address() + half, mr.keys[0].rkey}});
    EXPECT_TRUE(completion.ok()) << completion.status();
    if (completion.value_or(Completion::kGeneralError) != Completion::kSuccess) {
      return completion.value_or(Completion::kGeneralError);
    }
    EXPECT_EQ(std::memcmp(memory.data(), memory.data() + half, half), 0);
    return Completion::kSuccess;
  }

  std::uint32_t seed_ = 0;
};

TEST_F(VerbsDeviceTest, HasLimits) {
  const RegistrarLimits limits = registrar().limits();
  EXPECT_GT(limits.max_regions, 0u);
  EXPECT_GE(limits.max_region_bytes, std::uint64_t{1} << 30);
  EXPECT_NE(limits.page_sizes & 4096, 0u);
}

TEST_F(VerbsDeviceTest, PinsWhatItRegistersUntilItIsDeregistered) {
  TestMemory memory(1 << 20);
  const std::uint64_t before = PinnedBytes();
  Registration first = Register(memory.range(), Access::kLocalWrite);
  EXPECT_EQ(PinnedBytes(), before + (1 << 20));
  Registration part = Register(memory.range(100, 4096), Access::kLocalRead);  // Of two pages.
  EXPECT_EQ(PinnedBytes(), before + (1 << 20) + 8192);
  Deregister(first);
  Deregister(part);
  EXPECT_EQ(PinnedBytes(), before);
}

TEST_F(VerbsDeviceTest, ARegistrationLeftBehindIsUnpinnedWhenTheDeviceCloses) {
  const std::uint64_t before = PinnedBytes();
  TestMemory memory(kBytes);
  {
    auto other = OpenDevice(TestDeviceName());
    ASSERT_TRUE(other.ok()) << other.status();
    ASSERT_TRUE((*other)->registrar()->Register(memory.range(), Access::kLocalWrite).ok());
    EXPECT_EQ(PinnedBytes(), before + kBytes);
  }
  EXPECT_EQ(PinnedBytes(), before);
}

TEST_F(VerbsDeviceTest, MemoryThatIsNotThereOrNotWithTheseRightsIsAFailedPrecondition) {
  TestMemory memory(kBytes);
  ASSERT_EQ(mprotect(memory.data() + 8192, 4096, PROT_READ), 0);
  EXPECT_TRUE(Refusal(memory.range(8192, 4096), Access::kRemoteRead).ok());
  for (const Range range : {memory.range(8192, 1), memory.range()}) {
    const absl::Status status = Refusal(range, Access::kLocalWrite);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("EFAULT"));
  }
  ASSERT_EQ(munmap(memory.data() + 8192, 4096), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(Refusal(memory.range(), Access::kLocalRead)));
}

TEST_F(VerbsDeviceTest, ContradictoryRightsAreRefused) {
  TestMemory memory(kBytes);
  for (const Access access : {Access::kRemoteWrite, Access::kRemoteAtomic | Access::kRemoteRead}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Refusal(memory.range(), access)));
  }
}

TEST_F(VerbsDeviceTest, OnDemandIsThereExactlyWhereTheLimitsSaySo) {
  TestMemory memory(kBytes);
  const absl::Status status = Refusal(memory.range(), Access::kOnDemand | Access::kLocalWrite);
  if (registrar().limits().on_demand) {
    EXPECT_TRUE(status.ok()) << status;
  } else {
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("no on-demand paging"));
  }
}

TEST_F(VerbsDeviceTest, AForkedChildThatEndsItsCopiesHarmsNothing) {
  TestMemory memory(kBytes);
  auto opened = OpenDevice(TestDeviceName());
  ASSERT_TRUE(opened.ok()) << opened.status();
  auto transport = (*opened)->Connect();
  ASSERT_TRUE(transport.ok()) << transport.status();
  auto mr = (*opened)->registrar()->Register(memory.range(), kRemoteAll);
  ASSERT_TRUE(mr.ok()) << mr.status();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const bool inert = (*opened)->registrar()->Deregister(*mr).ok();
    transport->reset();
    opened->reset();
    _exit(inert ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(WriteHalf(**transport, memory, *mr), Completion::kSuccess);
  EXPECT_TRUE((*opened)->registrar()->Deregister(*mr).ok());
}

// The dummy netdev under rxe, taken down for as long as this lives. Never another's: only the
// guest's netdev is called so.
class Outage final {
 public:
  explicit Outage(std::string netdev) : netdev_(std::move(netdev)) { Set(false); }
  ~Outage() { End(); }
  Outage(const Outage&) = delete;
  Outage& operator=(const Outage&) = delete;

  bool begun() const { return begun_; }
  void End() {
    if (begun_) Set(true);
    begun_ = false;
  }

 private:
  void Set(bool up) {
    const Fd any_socket(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strncpy(request.ifr_name, netdev_.c_str(), sizeof(request.ifr_name) - 1);
    if (ioctl(any_socket.get(), SIOCGIFFLAGS, &request) != 0) return;
    const int flags = up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
    request.ifr_flags = static_cast<short>(flags);
    begun_ = ioctl(any_socket.get(), SIOCSIFFLAGS, &request) == 0;
  }

  const std::string netdev_;
  bool begun_ = false;
};

TEST_F(VerbsDeviceTest, APortThatGoesDownIsSaidAndComesBack) {
  std::string netdev;
  std::ifstream("/sys/class/infiniband/" + TestDeviceName() + "/parent") >> netdev;
  if (!netdev.starts_with("dummy")) GTEST_SKIP() << "not on a dummy netdev but on " << netdev;
  TestMemory memory(kBytes);
  Registration mr = Register(memory.range(), kRemoteAll);
  const auto transport = Connect();
  ASSERT_NE(transport, nullptr);
  ASSERT_EQ(WriteHalf(*transport, memory, mr), Completion::kSuccess);
  {
    const Outage outage(netdev);
    if (!outage.begun()) GTEST_SKIP() << "may not take " << netdev << " down, errno " << errno;
    ASSERT_TRUE(WaitFor("the port down", [] { return !OpenDevice(TestDeviceName()).ok(); }));
    const absl::Status status = OpenDevice(TestDeviceName()).status();
    EXPECT_TRUE(absl::IsUnavailable(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("no active port (port 1 is down)"));
    EXPECT_EQ(WriteHalf(*transport, memory, mr), Completion::kGeneralError);
    const auto best = OpenDevice("");
    ASSERT_TRUE(best.ok()) << best.status();
    EXPECT_EQ((*best)->name(), "loopback");
  }
  ASSERT_TRUE(WaitFor("the port active", [] { return OpenDevice(TestDeviceName()).ok(); }));
  EXPECT_EQ(WriteHalf(*transport, memory, mr), Completion::kSuccess);
  Deregister(mr);
}

}  // namespace
}  // namespace linchpin
