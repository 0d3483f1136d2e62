// Tests of VaddrPin on the loopback device: what it pins, who ends it, and what refuses it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "lib/base/fd.h"
#include "linchpin/pin.h"
#include "tests/pin/pin_file_client.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/child.h"
#include "tests/testing/fake_registrar.h"
#include "tests/testing/pins.h"
#include "tests/testing/threads.h"

namespace linchpin {
namespace {

using testing::Complaint;
using testing::FakeRegistrar;
using ::testing::HasSubstr;
using testing::kAllRights;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;
using testing::Owner;
using testing::PinnedBytes;
using testing::RunInChild;
using testing::WaitFor;

static_assert(!std::is_copy_constructible_v<VaddrPin> && !std::is_copy_assignable_v<VaddrPin>);

PinRequest RequestOf(const Mapped& memory, std::shared_ptr<PinFile> file = nullptr) {
  PinRequest request;
  request.range = {memory.start(), memory.start() + memory.size()};
  request.rights = kAllRights;
  request.file = std::move(file);
  return request;
}

class VaddrPinTest : public LoopbackTest {
 protected:
  VaddrPin Pin(const PinRequest& request) {
    auto pin = PinVaddr(device_, request);
    EXPECT_TRUE(pin.ok()) << pin.status().ToString();
    return pin.ok() ? *std::move(pin) : VaddrPin();
  }
  // Whether the device still takes the key.
  Completion WriteTo(const VaddrPin& pin) {
    const Mapped source(kPage);
    Registration local = Register(source);
    const Completion completion =
        Write(Local(local, 0, 8), RemoteExtent{pin.range().start, pin.rkey()});
    EXPECT_TRUE(device_->Deregister(local).ok());
    return completion;
  }
};

TEST_F(VaddrPinTest, PinsExactlyItsRangeUntilItsLastReferenceGoes) {
  const Mapped memory(8 * kPage);
  VaddrPin pin = Pin(RequestOf(memory));
  ASSERT_TRUE(pin);
  EXPECT_EQ(pin.range().size(), memory.size());
  EXPECT_EQ(pin.kind(), PinKind::kLongterm);
  EXPECT_EQ(pin.rights(), kAllRights);
  EXPECT_EQ(PinnedBytes(), pinned_at_start_ + memory.size());
  EXPECT_EQ(WriteTo(pin), Completion::kSuccess);
  VaddrPin other = pin.Ref();
  EXPECT_EQ(other.lkey(), pin.lkey());
  pin = VaddrPin();
  EXPECT_FALSE(pin);
  EXPECT_EQ(WriteTo(other), Completion::kSuccess);
  EXPECT_EQ(PinnedBytes(), pinned_at_start_ + memory.size());
  other = VaddrPin();
  EXPECT_EQ(PinnedBytes(), pinned_at_start_);
}

TEST_F(VaddrPinTest, TheKeyDiesWhenTheLastHolderOfItsFileIsClosed) {
  const Mapped memory(8 * kPage);
  Owner held = Owner();
  const VaddrPin pin = Pin(RequestOf(memory, held.file));
  ASSERT_TRUE(pin);
  EXPECT_EQ(WriteTo(pin), Completion::kSuccess);
  held.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("closed to unpinned", [&] { return PinnedBytes() == pinned_at_start_; }));
  EXPECT_TRUE(pin.revoked());
  EXPECT_EQ(WriteTo(pin), Completion::kRemoteAccessError);
}

TEST_F(VaddrPinTest, OfTwoFilesOnOneRangeTheEndOfOneNeitherHurtsNorKeepsTheOther) {
  const Mapped memory(8 * kPage);
  Owner one = Owner();
  Owner other = Owner();
  const VaddrPin ones = Pin(RequestOf(memory, one.file));
  const VaddrPin others = Pin(RequestOf(memory, other.file));
  ASSERT_TRUE(ones && others);
  EXPECT_TRUE(one.file->Revoke(absl::ZeroDuration()).ok());
  EXPECT_EQ(WriteTo(ones), Completion::kRemoteAccessError);
  EXPECT_EQ(WriteTo(others), Completion::kSuccess);
  EXPECT_FALSE(others.revoked());
  EXPECT_TRUE(other.file->Revoke(absl::ZeroDuration()).ok());
  EXPECT_EQ(WriteTo(others), Completion::kRemoteAccessError);
}

TEST_F(VaddrPinTest, NothingIsPinnedForAFileThatHasEnded) {
  const Mapped memory(kPage);
  const Owner held = Owner();
  ASSERT_TRUE(held.file->Close().ok());
  const auto refused = PinVaddr(device_, RequestOf(memory, held.file));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status().ToString();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("it was closed"));
  EXPECT_EQ(PinnedBytes(), pinned_at_start_);
}

TEST_F(VaddrPinTest, AfterTheFileEndedAReleaseLeavesNothingToRevoke) {
  const Mapped memory(kPage);
  Owner held = Owner({.grace = absl::InfiniteDuration()});
  VaddrPin pin = Pin(RequestOf(memory, held.file));
  held.holder.Reset(-1);
  ASSERT_TRUE(WaitFor("closed to closing", [&] { return !held.file->alive(); }));
  EXPECT_EQ(WriteTo(pin), Completion::kSuccess);
  pin = VaddrPin();
  EXPECT_TRUE(held.file->revoked());
}

TEST_F(VaddrPinTest, RangesThatAreNoneAreRefused) {
  const Mapped memory(kPage);
  PinRequest request = RequestOf(memory);
  request.range = {memory.start(), memory.start()};
  EXPECT_TRUE(absl::IsInvalidArgument(PinVaddr(device_, request).status()));
  request.range = {memory.start() + 1, memory.start()};
  EXPECT_TRUE(absl::IsInvalidArgument(PinVaddr(device_, request).status()));
  request.range = {0, 4096};
  EXPECT_TRUE(absl::IsInvalidArgument(PinVaddr(device_, request).status()));
}

TEST_F(VaddrPinTest, RightsThatContradictEachOtherOrTheKindAreRefused) {
  const Mapped memory(kPage);
  PinRequest request = RequestOf(memory);
  request.rights = Access::kRemoteWrite;
  EXPECT_TRUE(absl::IsInvalidArgument(PinVaddr(device_, request).status()));
  request.rights = Access::kOnDemand;
  EXPECT_TRUE(absl::IsInvalidArgument(PinVaddr(device_, request).status()));
  request.rights = Access::kLocalWrite;
  request.kind = PinKind::kFrameOnly;
  EXPECT_TRUE(absl::IsInvalidArgument(PinVaddr(device_, request).status()));
  request.kind = static_cast<PinKind>(9);
  EXPECT_TRUE(absl::IsInvalidArgument(PinVaddr(device_, request).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(PinVaddr(nullptr, RequestOf(memory)).status()));
}

TEST_F(VaddrPinTest, ARefusalOfTheDeviceNamesThePartThatIsTheReason) {
  const Mapped memory(4 * kPage);
  ASSERT_EQ(munmap(memory.data() + 2 * kPage, kPage), 0);
  const Range hole{memory.start() + 2 * kPage, memory.start() + 3 * kPage};
  const auto refused = PinVaddr(device_, RequestOf(memory));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status().ToString();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("nothing is mapped"));
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr(hole.ToString().substr(0, hole.ToString().find(','))));
  // So that the guard pages around it are unmapped with it.
  ASSERT_NE(mmap(memory.data() + 2 * kPage, kPage, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
            MAP_FAILED);
}

TEST_F(VaddrPinTest, OnDemandIsAskedOfTheDeviceAsARight) {
  const Mapped memory(kPage);
  PinRequest request = RequestOf(memory);
  request.kind = PinKind::kOnDemand;
  EXPECT_TRUE(absl::IsUnimplemented(PinVaddr(device_, request).status()));
  auto fake = std::make_shared<FakeRegistrar>();
  RegistrarLimits limits;
  limits.on_demand = true;
  fake->set_limits(limits);
  auto pin = PinVaddr(fake, request);
  ASSERT_TRUE(pin.ok()) << pin.status().ToString();
  EXPECT_EQ(fake->registered().at(0).access, kAllRights | Access::kOnDemand);
}

TEST_F(VaddrPinTest, AFrameOnlyPinRegistersNothingAndEndsWithItsFile) {
  const Mapped memory(kPage);
  const Owner held = Owner();
  PinRequest request = RequestOf(memory, held.file);
  request.kind = PinKind::kFrameOnly;
  request.rights = Access::kLocalRead;
  auto pin = PinVaddr(nullptr, request);
  ASSERT_TRUE(pin.ok()) << pin.status().ToString();
  EXPECT_EQ(PinnedBytes(), pinned_at_start_);
  EXPECT_TRUE(held.file->Close().ok());
  EXPECT_TRUE(pin->revoked());
  request.file = nullptr;
  request.range = {memory.start() + memory.size(), memory.start() + memory.size() + kPage};
  ASSERT_EQ(munmap(memory.data() + memory.size(), kPage), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(PinVaddr(nullptr, request).status()));
}

TEST_F(VaddrPinTest, OverTheLockedMemoryLimitNothingIsPinnedAndTheFileGoesOn) {
  testing::AwaitSleepOfOtherThreads();
  EXPECT_EQ(RunInChild([]() -> Complaint {
              if (!testing::DropPrivilege(2)) return "cannot drop privilege";
              testing::SetLimit(RLIMIT_MEMLOCK, 1 << 20);
              auto device = LoopbackDevice::Create();
              if (!device.ok()) return "";  // SetUp has said that io_uring is there.
              const Mapped large(4 << 20);
              const Mapped small(kPage);
              const Owner held = Owner();
              const auto refused = PinVaddr(*device, RequestOf(large, held.file));
              if (!absl::IsResourceExhausted(refused.status())) return refused.status().ToString();
              if (refused.status().message().find("MEMLOCK") == absl::string_view::npos) {
                return "no remedy: " + refused.status().ToString();
              }
              const auto pin = PinVaddr(*device, RequestOf(small, held.file));
              if (!pin.ok()) return pin.status().ToString();
              if (!held.file->Close().ok()) return "Close";
              return pin->revoked() ? "" : "not revoked";
            }),
            "");
}

TEST_F(VaddrPinTest, APinThatIsRevokedWhileItIsMadeIsNotGiven) {
  const Mapped memory(kPage);
  const Owner held = Owner();
  auto fake = std::make_shared<FakeRegistrar>();
  fake->OnRegister([&](Range, Access) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(held.file->Revoke(absl::ZeroDuration())));
    return absl::OkStatus();
  });
  const auto refused = PinVaddr(fake, RequestOf(memory, held.file));
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status().ToString();
  EXPECT_EQ(fake->registered_count(), 0U);
  EXPECT_TRUE(held.file->Revoke(absl::ZeroDuration()).ok());
}

TEST_F(VaddrPinTest, AFailedDeregistrationStillEndsTheClaim) {
  const Mapped memory(kPage);
  const Owner held = Owner();
  auto fake = std::make_shared<FakeRegistrar>();
  fake->FailDeregistrations(1);
  const auto pin = PinVaddr(fake, RequestOf(memory, held.file));
  ASSERT_TRUE(pin.ok());
  EXPECT_TRUE(held.file->Close().ok());
}

TEST_F(VaddrPinTest, InAForkedChildAPinIsInert) {
  const Mapped memory(kPage);
  const Owner held = Owner();
  VaddrPin pin = Pin(RequestOf(memory, held.file));
  EXPECT_EQ(RunInChild([&]() -> Complaint {
              VaddrPin other = pin.Ref();
              other.MarkDirty(other.range());
              if (!other.dirty().empty()) return "dirty";
              pin = VaddrPin();
              other = VaddrPin();
              return "";
            }),
            "");
  EXPECT_EQ(WriteTo(pin), Completion::kSuccess);
  EXPECT_FALSE(pin.revoked());
}

TEST_F(VaddrPinTest, KeepsDirtyRangesInsideItsOwn) {
  const Mapped memory(4 * kPage);
  VaddrPin pin = Pin(RequestOf(memory));
  const std::uintptr_t start = memory.start();
  pin.MarkDirty({start - 100, start + 10});
  pin.MarkDirty({start + 50, start + 60});
  pin.MarkDirty({start + memory.size(), start + memory.size() + 10});
  EXPECT_EQ(pin.dirty(), (std::vector<Range>{{start, start + 10}, {start + 50, start + 60}}));
}

TEST(PinKinds, HaveNames) {
  EXPECT_STREQ(ToString(PinKind::kTransient), "transient");
  EXPECT_STREQ(ToString(PinKind::kLongterm), "long-term");
  EXPECT_STREQ(ToString(PinKind::kOnDemand), "on-demand");
  EXPECT_STREQ(ToString(PinKind::kFrameOnly), "frame-only");
  EXPECT_STREQ(ToString(static_cast<PinKind>(9)), "unknown");
}

}  // namespace
}  // namespace linchpin
