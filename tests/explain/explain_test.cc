// Explain against what a registrar answers: the loopback device, whose pins are the kernel's own,
// and a fake one where a device's limits or another kernel's answers are needed.
#include "lib/explain/explain.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/memory/guard_pages.h"
#include "linchpin/loopback.h"
#include "tests/testing/child.h"
#include "tests/testing/fake_registrar.h"
#include "tests/testing/memory.h"

namespace linchpin {
namespace {

using testing::FakeRegistrar;
using ::testing::HasSubstr;
using testing::kPage;
using testing::Mapped;
using ::testing::Not;

constexpr Access kWrite = Access::kLocalWrite;
constexpr Access kRead = Access::kLocalRead;

Range RangeOf(const Mapped& memory) {
  return {memory.start(), memory.start() + memory.size()};
}

Range RangeOf(const void* address, std::size_t bytes) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  return {start, start + bytes};
}

Fd Memfd(std::size_t bytes) {
  Fd fd(memfd_create("explain", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

// What the kernel answers to the loopback device, and what Explain says of it: they agree.
class ExplainLoopback : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = LoopbackDevice::Create();
    if (!device.ok()) GTEST_SKIP() << device.status();
    device_ = *std::move(device);
  }

  Diagnosis ExpectAgreement(Range range, Access access) {
    const Diagnosis diagnosis = Explain(range, access, *device_);
    auto registration = device_->Register(range, access);
    EXPECT_EQ(diagnosis.code, registration.status().code()) << registration.status() << "\n"
                                                            << diagnosis.ToString();
    EXPECT_TRUE(diagnosis.certain) << diagnosis.ToString();
    EXPECT_FALSE(diagnosis.sentence.empty());
    if (registration.ok()) {
      EXPECT_TRUE(device_->Deregister(*registration).ok());
      return diagnosis;
    }
    EXPECT_FALSE(diagnosis.remedy.empty());
    const absl::Status explained = Explained(registration.status(), range, access, *device_);
    EXPECT_EQ(explained.code(), registration.status().code());
    // One reason and one remedy: the usual one gives way.
    const absl::Status bare = WithoutUsualRemedy(registration.status());
    const bool asked = bare != registration.status();
    EXPECT_EQ(std::string(explained.message()),
              std::string(bare.message()) + (asked ? "; " + diagnosis.ToString() : ""));
    return diagnosis;
  }

  std::shared_ptr<LoopbackDevice> device_;
};

TEST_F(ExplainLoopback, NothingSpeaksAgainstOrdinaryMemory) {
  const Mapped memory(4 * kPage);
  const Diagnosis diagnosis = ExpectAgreement(RangeOf(memory), kWrite);
  EXPECT_THAT(diagnosis.sentence, HasSubstr("nothing speaks against"));
  EXPECT_TRUE(diagnosis.offending.empty());
  EXPECT_EQ(diagnosis.mapping, "");
}

TEST_F(ExplainLoopback, NamesTheHoleInTheRange) {
  const Mapped memory(4 * kPage);
  const Range hole{memory.start() + kPage, memory.start() + 2 * kPage};
  ASSERT_EQ(munmap(memory.data() + kPage, kPage), 0);
  const Diagnosis diagnosis = ExpectAgreement(RangeOf(memory), kWrite);
  EXPECT_EQ(diagnosis.offending, hole);
  EXPECT_EQ(diagnosis.mapping, "hole");
  EXPECT_THAT(diagnosis.sentence, HasSubstr(hole.ToString()));
  ASSERT_NE(mmap(memory.data() + kPage, kPage, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
            MAP_FAILED);
}

TEST_F(ExplainLoopback, NamesThePageThatMayNotBeWritten) {
  const Mapped memory(4 * kPage);
  ASSERT_EQ(mprotect(memory.data() + 2 * kPage, kPage, PROT_READ), 0);
  const Diagnosis diagnosis = ExpectAgreement(RangeOf(memory), kWrite);
  EXPECT_EQ(diagnosis.offending, (Range{memory.start() + 2 * kPage, memory.start() + 3 * kPage}));
  EXPECT_EQ(diagnosis.mapping, "anonymous r--");
  EXPECT_THAT(diagnosis.sentence, HasSubstr("LocalWrite"));
}

TEST_F(ExplainLoopback, FindsGuardPagesThatNoMappingShows) {
  constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL.
  const Mapped memory(8 * kPage);
  if (madvise(memory.data() + 2 * kPage, 2 * kPage, kGuardInstall) != 0) {
    GTEST_SKIP() << "no guard pages on this kernel";
  }
  const Range guard{memory.start() + 2 * kPage, memory.start() + 4 * kPage};
  if (FirstGuardPages(0, RangeOf(memory)).empty()) GTEST_SKIP() << "this kernel does not tell";
  const Diagnosis diagnosis = ExpectAgreement(RangeOf(memory), kWrite);
  EXPECT_EQ(diagnosis.offending, guard);
  EXPECT_EQ(diagnosis.mapping, "anonymous rw-");
  ExpectAgreement({guard.end, guard.end + kPage}, kWrite);
  ExpectAgreement({guard.end - 1, guard.end + kPage}, kWrite);
}

TEST_F(ExplainLoopback, SaysThatTheDevicePinsForWritingWhateverTheRights) {
  const Mapped memory(kPage, PROT_READ);
  const Diagnosis diagnosis = ExpectAgreement(RangeOf(memory), kRead);
  EXPECT_THAT(diagnosis.sentence, HasSubstr("loopback takes pages for writing"));
}

TEST_F(ExplainLoopback, SaysWhereAFileEnds) {
  const Fd fd = Memfd(kPage + 1);
  void* const memory = mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  const Diagnosis within = ExpectAgreement(RangeOf(memory, 2 * kPage), kWrite);
  EXPECT_THAT(within.remedy, HasSubstr("BackingGuard"));
  const Diagnosis diagnosis = ExpectAgreement(RangeOf(memory, 3 * kPage), kWrite);
  EXPECT_EQ(diagnosis.offending.start, RangeOf(memory, 1).start + 2 * kPage);
  EXPECT_THAT(diagnosis.sentence, HasSubstr("which has 4097 bytes"));
  EXPECT_THAT(diagnosis.remedy, HasSubstr("at least 12288 bytes"));
  munmap(memory, 4 * kPage);
}

TEST_F(ExplainLoopback, AsksForNoGuardWhereNobodyCanTruncate) {
  const int id = shmget(IPC_PRIVATE, kPage, 0600);
  if (id < 0) GTEST_SKIP() << "no SysV shared memory here";
  void* const sysv = shmat(id, nullptr, 0);
  shmctl(id, IPC_RMID, nullptr);
  ASSERT_NE(sysv, MAP_FAILED);
  EXPECT_THAT(ExpectAgreement(RangeOf(sysv, kPage), kWrite).remedy, "");
  shmdt(sysv);
  void* const shared =
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  EXPECT_THAT(ExpectAgreement(RangeOf(shared, kPage), kWrite).remedy, "");
  munmap(shared, kPage);
}

TEST_F(ExplainLoopback, DoesNotAdviseToReadWhoeverReadsAlready) {
  std::string name = "/var/tmp/linchpin-explain-XXXXXX";
  const Fd fd(mkostemp(name.data(), O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  unlink(name.c_str());
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  void* const shared = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(shared, MAP_FAILED);
  const Diagnosis diagnosis = ExpectAgreement(RangeOf(shared, kPage), kRead);
  munmap(shared, kPage);
  if (diagnosis.code == absl::StatusCode::kOk) GTEST_SKIP() << "this kernel pins such files";
  EXPECT_THAT(diagnosis.sentence, HasSubstr("loopback takes pages for writing"));
  EXPECT_THAT(diagnosis.remedy, Not(HasSubstr("ask for reading")));
}

TEST_F(ExplainLoopback, TriesWhetherThisKernelPinsFilesForWriting) {
  std::string name = "/var/tmp/linchpin-explain-XXXXXX";
  const Fd fd(mkostemp(name.data(), O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  unlink(name.c_str());
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  void* const shared = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  void* const copied = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get(), 0);
  ASSERT_NE(shared, MAP_FAILED);
  ASSERT_NE(copied, MAP_FAILED);
  ExpectAgreement(RangeOf(shared, kPage), kWrite);
  ExpectAgreement(RangeOf(copied, kPage), kWrite);
  // Without a device the same is found out.
  const auto alone = Explain({.range = RangeOf(shared, kPage), .access = kWrite});
  EXPECT_EQ(alone.code, Explain(RangeOf(shared, kPage), kWrite, *device_).code);
  EXPECT_TRUE(alone.certain);
  munmap(shared, kPage);
  munmap(copied, kPage);
}

TEST_F(ExplainLoopback, KnowsMemoryThatNoDeviceMayReach) {
  const Fd fd(static_cast<int>(syscall(SYS_memfd_secret, 0)));
  if (!fd.valid() || ftruncate(fd.get(), kPage) != 0) GTEST_SKIP() << "no memfd_secret here";
  void* const secret = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (secret == MAP_FAILED) GTEST_SKIP() << "secret memory cannot be mapped here";
  const Diagnosis diagnosis = ExpectAgreement(RangeOf(secret, kPage), kWrite);
  EXPECT_THAT(diagnosis.sentence, HasSubstr("memfd_secret"));
  munmap(secret, kPage);
}

TEST_F(ExplainLoopback, AgreesOnRightsAndLengthsThatMakeNoSense) {
  const Mapped memory(kPage);
  ExpectAgreement(RangeOf(memory), Access::kRemoteWrite);
  ExpectAgreement(RangeOf(memory), static_cast<Access>(1u << 9));
  ExpectAgreement({memory.start(), memory.start()}, kWrite);
  ExpectAgreement({memory.start(), memory.start() - 1}, kWrite);
  ExpectAgreement(RangeOf(memory), Access::kOnDemand);
}

// In a child, because it gives up its privilege and its limit.
TEST_F(ExplainLoopback, DoesTheArithmeticOfRlimitMemlock) {
  const auto complaint = testing::RunInChild([]() -> testing::Complaint {
    if (!testing::DropPrivilege(3)) return "privilege is not dropped";
    testing::SetLimit(RLIMIT_MEMLOCK, 64 * kPage);
    auto device = LoopbackDevice::Create();
    if (!device.ok()) return "";  // Its rings need more: another kernel.
    const Mapped memory(200 * kPage);
    const Range range{memory.start() + 1, memory.start() + 100 * kPage};
    const absl::Status refusal = (*device)->Register(range, kWrite).status();
    const Diagnosis diagnosis = Explain(range, kWrite, **device);
    if (diagnosis.code != refusal.code()) return refusal.ToString() + diagnosis.ToString();
    if (!absl::IsResourceExhausted(refusal)) return "not refused: " + refusal.ToString();
    for (const std::string& part : {std::string("needs 409600 more"), std::string("of the 262144"),
                                    "process " + std::to_string(getpid()) + " ("}) {
      if (diagnosis.sentence.find(part) == std::string::npos) return diagnosis.sentence;
      const absl::Status explained = Explained(refusal, range, kWrite, **device);
      if (std::string(explained.message()).find(part) == std::string::npos) return "not explained";
    }
    return "";
  });
  EXPECT_EQ(complaint, "");
}

TEST(Explain, SaysWhatADeviceHasNoRoomFor) {
  FakeRegistrar device;
  RegistrarLimits limits;
  limits.max_region_bytes = kPage;
  device.set_limits(limits);
  const Mapped memory(2 * kPage);
  const Diagnosis diagnosis = Explain(RangeOf(memory), kWrite, device);
  EXPECT_EQ(diagnosis.code, absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(diagnosis.sentence, HasSubstr("at most 4096 bytes at once (max_mr_size)"));
  EXPECT_THAT(diagnosis.sentence, HasSubstr("8192"));
  EXPECT_EQ(device.calls(), 0);
}

TEST(Explain, SaysThatRegistrationsMayBeUsedUpOnlyAfterARefusal) {
  FakeRegistrar device;
  RegistrarLimits limits;
  limits.max_regions = 3;
  device.set_limits(limits);
  const Mapped memory(kPage);
  EXPECT_EQ(Explain(RangeOf(memory), kWrite, device).code, absl::StatusCode::kOk);
  const absl::Status refusal = RegistrationError(ENOMEM, "ibv_reg_mr", RangeOf(memory));
  const absl::Status explained = Explained(refusal, RangeOf(memory), kWrite, device);
  EXPECT_TRUE(absl::IsResourceExhausted(explained));
  EXPECT_THAT(std::string(explained.message()), HasSubstr("3 registrations (max_mr"));
  EXPECT_THAT(std::string(explained.message()), Not(HasSubstr("raise RLIMIT_MEMLOCK")));
}

TEST(Explain, LeavesARefusalAloneThatItKnowsNoReasonFor) {
  FakeRegistrar device;
  const Mapped memory(kPage);
  for (const int error : {EFAULT, EPERM, EINVAL, EOPNOTSUPP, ENODEV, EIO}) {
    const absl::Status refusal = RegistrationError(error, "ibv_reg_mr", RangeOf(memory));
    EXPECT_EQ(Explained(refusal, RangeOf(memory), kWrite, device), refusal);
  }
  EXPECT_TRUE(Explained(absl::OkStatus(), RangeOf(memory), kWrite, device).ok());
  EXPECT_EQ(device.calls(), 0);
}

TEST(Explain, OnDemandSecretMemoryIsRefusedWithoutTheKernelBeingAsked) {
  const Fd fd(static_cast<int>(syscall(SYS_memfd_secret, 0)));
  if (!fd.valid() || ftruncate(fd.get(), kPage) != 0) GTEST_SKIP() << "no memfd_secret here";
  void* const secret = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (secret == MAP_FAILED) GTEST_SKIP() << "secret memory cannot be mapped here";
  FakeRegistrar device;
  RegistrarLimits limits;
  limits.on_demand = true;
  device.set_limits(limits);
  const Diagnosis diagnosis = Explain(RangeOf(secret, kPage), kWrite | Access::kOnDemand, device);
  EXPECT_EQ(diagnosis.code, absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(device.calls(), 0);
  // It was the registrar who refused, and has said why.
  const absl::Status refusal = absl::FailedPreconditionError("memfd_secret; use other memory");
  EXPECT_EQ(Explained(refusal, RangeOf(secret, kPage), kWrite | Access::kOnDemand, device),
            refusal);
  munmap(secret, kPage);
}

TEST(Explain, WarnsOfWhatRegistersOnDemandAndFailsLater) {
  FakeRegistrar device;
  RegistrarLimits limits;
  limits.on_demand = true;
  device.set_limits(limits);
  const Mapped memory(kPage, PROT_READ);
  const Diagnosis diagnosis = Explain(RangeOf(memory), kWrite | Access::kOnDemand, device);
  EXPECT_EQ(diagnosis.code, absl::StatusCode::kOk);
  EXPECT_EQ(diagnosis.offending, RangeOf(memory));
  EXPECT_THAT(diagnosis.sentence, HasSubstr("the device's access to it fails"));
  EXPECT_THAT(diagnosis.remedy, HasSubstr("mprotect"));
  const Mapped holed(3 * kPage);
  ASSERT_EQ(munmap(holed.data() + kPage, kPage), 0);
  const Diagnosis hole = Explain(RangeOf(holed), kWrite | Access::kOnDemand, device);
  EXPECT_THAT(hole.sentence, ::testing::StartsWith("nothing is mapped at"));
  EXPECT_THAT(hole.remedy, HasSubstr("map it with these rights"));
  ASSERT_NE(mmap(holed.data() + kPage, kPage, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
            MAP_FAILED);
}

TEST(Explain, AKernelThatForcesWritesTakesWhatNobodyMayTouch) {
  // A fake device takes all, so it has the trait; without a device nobody can tell.
  FakeRegistrar device;
  const Mapped memory(kPage, PROT_NONE);
  EXPECT_EQ(Explain(RangeOf(memory), kRead, device).code, absl::StatusCode::kOk);
  EXPECT_EQ(device.registered_count(), 0u);
  const Diagnosis alone = Explain({.range = RangeOf(memory)});
  EXPECT_EQ(alone.code, absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(alone.certain);
}

TEST(Explain, ManyThreadsAskAtOnce) {
  FakeRegistrar device;
  const Mapped memory(kPage, PROT_NONE);  // What it answers is tried out, at first by all of them.
  std::array<absl::StatusCode, 4> codes{};
  std::vector<std::thread> threads;
  for (absl::StatusCode& code : codes) {
    threads.emplace_back([&] { code = Explain(RangeOf(memory), kRead, device).code; });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::StatusCode code : codes) EXPECT_EQ(code, absl::StatusCode::kOk);
  EXPECT_EQ(device.registered_count(), 0u);
}

TEST(Explain, FramesAreOnlyLookedAt) {
  const Mapped memory(2 * kPage, PROT_NONE);
  EXPECT_EQ(Explain({.range = RangeOf(memory), .kind = PinKind::kFrameOnly}).code,
            absl::StatusCode::kOk);
  EXPECT_EQ(Explain({.range = RangeOf(memory), .access = kWrite, .kind = PinKind::kFrameOnly}).code,
            absl::StatusCode::kInvalidArgument);
  ASSERT_EQ(munmap(memory.data(), kPage), 0);
  const Diagnosis hole = Explain({.range = RangeOf(memory), .kind = PinKind::kFrameOnly});
  EXPECT_EQ(hole.code, absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(hole.mapping, "hole");
}

TEST(Explain, ALimitOfZeroIsAMatterOfPermission) {
  const auto complaint = testing::RunInChild([]() -> testing::Complaint {
    if (!testing::DropPrivilege(4)) return "privilege is not dropped";
    testing::SetLimit(RLIMIT_MEMLOCK, 0);
    const Mapped memory(kPage);
    const Diagnosis diagnosis = Explain({.range = RangeOf(memory), .access = kWrite});
    if (diagnosis.code != absl::StatusCode::kPermissionDenied) return diagnosis.ToString();
    return diagnosis.remedy.find("ulimit -l") != std::string::npos ? "" : diagnosis.remedy;
  });
  EXPECT_EQ(complaint, "");
}

}  // namespace
}  // namespace linchpin
