// Tests that the loopback device lets nothing be reached but what is registered, with the rights it
// is registered with, while it is; and what it refuses to register.
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "tests/registrar/loopback_fixture.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;
using testing::kAllRights;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;

class LoopbackRights : public LoopbackTest {
 protected:
  void SetUp() override {
    LoopbackTest::SetUp();
    if (device_ == nullptr) return;
    std::memset(mine_.data(), 'm', mine_.size());
    std::memset(yours_.data(), 'y', yours_.size());
    local_ = Register({mine_.start() + 100, mine_.start() + 200});
    remote_ = Register({yours_.start() + 100, yours_.start() + 200});
  }

  const Mapped mine_{kPage};
  const Mapped yours_{kPage};
  Registration local_;
  Registration remote_;
};

TEST_F(LoopbackRights, ABytePastEitherEndOfALocalRegionIsALocalProtectionError) {
  EXPECT_EQ(Write(Local(local_, 0, 100), Remote(remote_)), Completion::kSuccess);
  std::memset(yours_.data(), 'y', yours_.size());
  for (const LocalExtent& wrong : {Local(local_, 0, 101), Local(local_, 100, 1),
                                   LocalExtent{mine_.data() + 99, 2, local_.keys[0].lkey}}) {
    EXPECT_EQ(Write(wrong, Remote(remote_)), Completion::kLocalProtectionError);
    EXPECT_EQ(Read(wrong, Remote(remote_)), Completion::kLocalProtectionError);
  }
  EXPECT_EQ(std::string(yours_.data(), kPage), std::string(kPage, 'y'));
}

TEST_F(LoopbackRights, ABytePastEitherEndOfARemoteRegionIsARemoteAccessError) {
  const LocalExtent ten = Local(local_, 0, 10);
  EXPECT_EQ(Write(ten, Remote(remote_, 90)), Completion::kSuccess);
  std::memset(yours_.data(), 'y', yours_.size());
  const std::uint32_t rkey = remote_.keys[0].rkey;
  for (const std::uint64_t address : {remote_.range.start + 91, remote_.range.start - 1,
                                      remote_.range.end, ~std::uintptr_t{4}, std::uintptr_t{0}}) {
    EXPECT_EQ(Write(ten, {address, rkey}), Completion::kRemoteAccessError);
    EXPECT_EQ(Read(ten, {address, rkey}), Completion::kRemoteAccessError);
  }
  EXPECT_EQ(std::string(yours_.data(), kPage), std::string(kPage, 'y'));
  EXPECT_EQ(std::string(mine_.data(), kPage), std::string(kPage, 'm'));
}

TEST_F(LoopbackRights, AnExtentThatWrapsAroundIsRefused) {
  const std::size_t length = ~std::size_t{0} - 10;
  EXPECT_EQ(Write(Local(local_, 0, length), Remote(remote_)), Completion::kLocalProtectionError);
}

TEST_F(LoopbackRights, NoByteMovesWhenTheLastExtentIsWrong) {
  const std::vector<LocalExtent> extents = {Local(local_, 0, 50), Local(local_, 60, 41)};
  EXPECT_EQ(device_->Write(extents, Remote(remote_)), Completion::kLocalProtectionError);
  EXPECT_EQ(std::string(yours_.data(), kPage), std::string(kPage, 'y'));
  EXPECT_EQ(device_->Read(extents, Remote(remote_)), Completion::kLocalProtectionError);
  EXPECT_EQ(std::string(mine_.data(), kPage), std::string(kPage, 'm'));
}

TEST_F(LoopbackRights, TheLocalErrorIsReportedFirst) {
  EXPECT_EQ(Write({mine_.data(), 1, 0}, {yours_.start(), 0}), Completion::kLocalProtectionError);
}

TEST_F(LoopbackRights, AWriteNeedsRemoteWriteAndNoLocalWrite) {
  const Registration readable = Register(mine_, Access::kLocalRead);
  EXPECT_EQ(Write(Local(readable, 0, 1), Remote(remote_)), Completion::kSuccess);
  const Registration others =
      Register(yours_, Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteAtomic);
  EXPECT_EQ(Write(Local(local_, 0, 1), Remote(others)), Completion::kRemoteAccessError);
}

TEST_F(LoopbackRights, AReadNeedsRemoteReadAndLocalWrite) {
  const Registration readable = Register(mine_, Access::kRemoteRead);
  EXPECT_EQ(Read(Local(readable, 0, 1), Remote(remote_)), Completion::kLocalProtectionError);
  EXPECT_EQ(Read(Local(local_, 0, 1), Remote(readable)), Completion::kSuccess);
  const Registration others =
      Register(yours_, Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteAtomic);
  EXPECT_EQ(Read(Local(local_, 0, 1), Remote(others)), Completion::kRemoteAccessError);
}

TEST_F(LoopbackRights, ALocalRegionHasNoRemoteKey) {
  const Registration region = Register(yours_, Access::kLocalWrite);
  EXPECT_EQ(region.keys[0].rkey, 0U);
  EXPECT_NE(region.keys[0].lkey, 0U);
  EXPECT_EQ(Write(Local(local_, 0, 1), Remote(region)), Completion::kRemoteAccessError);
  // Its local key is no way around.
  EXPECT_EQ(Write(Local(local_, 0, 1), {yours_.start(), region.keys[0].lkey}),
            Completion::kRemoteAccessError);
}

TEST_F(LoopbackRights, AKeyIsDeadAfterDeregistration) {
  Registration local = local_;
  Registration remote = remote_;
  ASSERT_TRUE(device_->Deregister(local).ok());
  EXPECT_EQ(local.handle, 0U);
  EXPECT_EQ(Write(Local(local_, 0, 1), Remote(remote_)), Completion::kLocalProtectionError);
  const Registration again = Register(local_.range);  // May well have the same record and slot.
  EXPECT_NE(again.keys[0].lkey, local_.keys[0].lkey);
  EXPECT_EQ(Write(Local(local_, 0, 1), Remote(remote_)), Completion::kLocalProtectionError);
  ASSERT_TRUE(device_->Deregister(remote).ok());
  EXPECT_EQ(Write(Local(again, 0, 1), Remote(remote_)), Completion::kRemoteAccessError);
  EXPECT_EQ(Read(Local(again, 0, 1), Remote(remote_)), Completion::kRemoteAccessError);
}

TEST_F(LoopbackRights, ATransferOfNothingSucceedsWithoutKeys) {
  EXPECT_EQ(Write({nullptr, 0, 0}, {0, 0}), Completion::kSuccess);
  EXPECT_EQ(device_->Read({}, {0, 0}), Completion::kSuccess);
}

TEST_F(LoopbackRights, ARegistrationIsDeregisteredOnce) {
  Registration copy = local_;
  ASSERT_TRUE(device_->Deregister(copy).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(device_->Deregister(copy)));
  EXPECT_TRUE(absl::IsInvalidArgument(device_->Deregister(local_)));
}

TEST_F(LoopbackRights, MeaninglessRequestsAreRefused) {
  const Range page{mine_.start(), mine_.start() + kPage};
  const auto code = [&](Range range, Access access) {
    return device_->Register(range, access).status().code();
  };
  EXPECT_EQ(code({0, kPage}, Access::kLocalRead), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({page.start, page.start}, Access::kLocalRead), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({page.end, page.start}, Access::kLocalRead), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(page, Access::kRemoteWrite), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(page, Access::kRemoteAtomic), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(page, static_cast<Access>(1 << 9)), absl::StatusCode::kInvalidArgument);
}

TEST_F(LoopbackRights, WhatTheDeviceHasNotIsUnimplementedWithTheReason) {
  const Range page{mine_.start(), mine_.start() + kPage};
  const absl::Status on_demand = device_->Register(page, Access::kOnDemand).status();
  EXPECT_TRUE(absl::IsUnimplemented(on_demand));
  EXPECT_THAT(on_demand.ToString(), HasSubstr("no on-demand paging"));
  EXPECT_FALSE(device_->limits().on_demand);
  const absl::Status windows = device_->Register(page, Access::kMwBind).status();
  EXPECT_TRUE(absl::IsUnimplemented(windows));
  EXPECT_THAT(windows.ToString(), HasSubstr("no memory windows"));
  EXPECT_TRUE(device_->Register(page, Access::kRelaxedOrdering).ok());
}

// io_uring pins for writing, whatever the rights; a NIC would accept the first two.
TEST_F(LoopbackRights, ReadOnlyMemoryCannotBePinned) {
  const Mapped untouched(kPage, PROT_READ);
  const Mapped touched(kPage);
  std::memset(touched.data(), 't', kPage);
  ASSERT_EQ(mprotect(touched.data(), kPage, PROT_READ), 0);
  const Mapped none(kPage, PROT_NONE);
  for (const Mapped* memory : {&untouched, &touched, &none}) {
    const absl::Status status =
        device_->Register({memory->start(), memory->start() + kPage}, Access::kLocalRead).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status.ToString();
    EXPECT_THAT(status.ToString(), HasSubstr("EFAULT"));
    EXPECT_THAT(status.ToString(), HasSubstr("pins for writing"));
  }
}

}  // namespace
}  // namespace linchpin
