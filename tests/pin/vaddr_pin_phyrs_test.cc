// VaddrPin::Phyrs: where pinned memory is, and what the pin adds to that.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <cstring>
#include <string>
#include <utility>

#include "linchpin/phyr.h"
#include "linchpin/pin.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/child.h"
#include "tests/testing/owner.h"

namespace linchpin {
namespace {

using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;

class VaddrPinPhyrsTest : public LoopbackTest {
 protected:
  VaddrPin Pin(PinKind kind, std::shared_ptr<PinFile> file = nullptr) {
    PinRequest request;
    request.range = {memory_.start() + 100, memory_.start() + memory_.size()};
    request.kind = kind;
    if (kind != PinKind::kFrameOnly) request.rights = Access::kLocalWrite;
    request.file = std::move(file);
    auto pin = PinVaddr(device_, request);
    EXPECT_TRUE(pin.ok()) << pin.status().ToString();
    return pin.ok() ? *std::move(pin) : VaddrPin();
  }

  const Mapped memory_{8 * kPage};
};

TEST_F(VaddrPinPhyrsTest, SaysHowTheMemoryIsHeld) {
  std::memset(memory_.data(), 1, memory_.size());
  constexpr PhyrFlags kHeld =
      PhyrFlags::kPinned | PhyrFlags::kLongterm | PhyrFlags::kOnDemand | PhyrFlags::kDirty;
  const std::pair<PinKind, PhyrFlags> kinds[] = {
      {PinKind::kLongterm, PhyrFlags::kPinned | PhyrFlags::kLongterm},
      {PinKind::kTransient, PhyrFlags::kPinned},
      {PinKind::kFrameOnly, PhyrFlags::kNone}};
  for (const auto& [kind, flags] : kinds) {
    const VaddrPin pin = Pin(kind);
    ASSERT_TRUE(pin);
    const auto list = pin.Phyrs();
    ASSERT_TRUE(list.ok()) << list.status();
    EXPECT_EQ(list->length(), 8 * kPage - 100);
    for (const Phyr& entry : *list) EXPECT_EQ(entry.flags() & kHeld, flags) << entry.ToString();
  }
}

TEST_F(VaddrPinPhyrsTest, AgreesWithThePinsFrames) {
  const VaddrPin pin = Pin(PinKind::kLongterm);
  ASSERT_TRUE(pin);
  const auto frames = pin.Frames();
  if (!frames.ok()) GTEST_SKIP() << frames.status();
  const auto list = pin.Phyrs();
  ASSERT_TRUE(list.ok()) << list.status();
  std::size_t page = 0;
  for (const Phyr& piece : list->Pieces({.boundary = kPage, .max_length = kPage})) {
    ASSERT_LT(page, frames->size());
    EXPECT_EQ(piece.address() / kPage, (*frames)[page++]);
  }
  EXPECT_EQ(page, frames->size());
}

TEST_F(VaddrPinPhyrsTest, WhatTheDeviceWroteIsDirtyToTheByte) {
  VaddrPin pin = Pin(PinKind::kLongterm);
  ASSERT_TRUE(pin);
  const std::uintptr_t start = pin.range().start;
  pin.MarkDirty({start + 50, start + 60});
  pin.MarkDirty({start + 2 * kPage, start + 5 * kPage});
  const auto list = pin.Phyrs();
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->length(), pin.range().size());
  std::uint64_t dirty = 0;
  std::uint64_t at = 0;
  for (const Phyr& entry : *list) {
    const bool first = at == 50 && entry.length() == 10;
    const bool second = at >= 2 * kPage && at + entry.length() <= 5 * kPage;
    EXPECT_EQ(entry.Has(PhyrFlags::kDirty), first || second) << entry.ToString() << " at " << at;
    if (entry.Has(PhyrFlags::kDirty)) dirty += entry.length();
    at += entry.length();
  }
  EXPECT_EQ(dirty, 10 + 3 * kPage);
  VaddrPin frames = Pin(PinKind::kFrameOnly);
  frames.MarkDirty(frames.range());
  const auto framed = frames.Phyrs();
  ASSERT_TRUE(framed.ok()) << framed.status();
  for (const Phyr& entry : *framed) {
    EXPECT_NE(entry.Has(PhyrFlags::kDirty), entry.Has(kPlaceless)) << entry.ToString();
  }
}

// Where no address is known, nobody can say any more that two parts of a page are one page.
TEST_F(VaddrPinPhyrsTest, WithoutPrivilegeAWrittenPageIsDirtyAsAWhole) {
  std::memset(memory_.data(), 1, memory_.size());
  EXPECT_EQ(testing::RunInChild([&]() -> testing::Complaint {
              if (!testing::DropPrivilege(1)) return "cannot become another user";
              prctl(PR_SET_DUMPABLE, 1);  // Else /proc/self is root's.
              device_ = LoopbackDevice::Create().value();
              VaddrPin pin = Pin(PinKind::kLongterm);
              if (!pin) return "no pin";
              pin.MarkDirty({pin.range().start + kPage + 5, pin.range().start + kPage + 9});
              const auto list = pin.Phyrs();
              if (!list.ok()) return std::string(list.status().message());
              if (list->size() != 8) return "entries: " + std::to_string(list->size());
              for (std::size_t i = 0; i < 8; ++i) {
                if ((*list)[i].Has(PhyrFlags::kDirty) != (i == 1)) return (*list)[i].ToString();
              }
              const auto best = BestPageSize(*list, pin.range().start, kPage);
              return best.ok() ? "" : std::string(best.status().message());
            }),
            "");
}

TEST_F(VaddrPinPhyrsTest, OfAPinThatWasTakenBackThereIsNoList) {
  testing::Owner owner;
  const VaddrPin pin = Pin(PinKind::kLongterm, owner.file);
  ASSERT_TRUE(pin);
  ASSERT_TRUE(owner.file->Revoke(absl::ZeroDuration()).ok());
  EXPECT_EQ(pin.Phyrs().status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(VaddrPinPhyrsTest, InAForkedChildThereIsNoList) {
  const VaddrPin pin = Pin(PinKind::kLongterm);
  ASSERT_TRUE(pin);
  EXPECT_EQ(testing::RunInChild([&]() -> testing::Complaint {
              return pin.Phyrs().status().code() == absl::StatusCode::kFailedPrecondition
                         ? ""
                         : "a child has the list of its parent's pin";
            }),
            "");
}

}  // namespace
}  // namespace linchpin
