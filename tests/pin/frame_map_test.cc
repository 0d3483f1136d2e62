// Tests of page frames: how many pins are on each, and whether they are still what is mapped.
#include "lib/pin/frame_map.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "lib/base/fd.h"
#include "lib/pin/page_frames.h"
#include "linchpin/pin.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/child.h"

namespace linchpin {
namespace {

using internal::FrameMap;
using testing::Complaint;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;
using testing::RunInChild;

TEST(FrameMap, CountsEachPinOnce) {
  FrameMap map;
  ASSERT_TRUE(map.Add({7, 8, 7, 0, 0}));
  EXPECT_EQ(map.size(), 2U);
  EXPECT_EQ(map.FindShared({7, 8, 9, 0}), std::vector<bool>(4, false));
  ASSERT_TRUE(map.Add({8, 9}));
  EXPECT_EQ(map.FindShared({7, 8, 9, 0}), (std::vector<bool>{false, true, false, false}));
  map.Remove({7, 8, 7, 0, 0});
  EXPECT_EQ(map.FindShared({8, 9}), std::vector<bool>(2, false));
  map.Remove({8, 9});
  EXPECT_EQ(map.size(), 0U);
}

TEST(FrameMap, WhatDoesNotFitIsNotCountedInPart) {
  FrameMap map(3);
  ASSERT_TRUE(map.Add({1, 2}));
  EXPECT_FALSE(map.Add({3, 4}));
  EXPECT_EQ(map.size(), 2U);
  EXPECT_TRUE(map.Add({3}));
}

class FramesTest : public LoopbackTest {
 protected:
  void SetUp() override {
    LoopbackTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const Mapped memory(kPage);
    const absl::Status readable =
        internal::ReadPageFrames({memory.start(), memory.start() + kPage}).status();
    if (!readable.ok()) GTEST_SKIP() << readable.ToString();
  }
  VaddrPin Pin(Range range) {
    PinRequest request;
    request.range = range;
    request.rights = Access::kLocalWrite;
    auto pin = PinVaddr(device_, request);
    EXPECT_TRUE(pin.ok()) << pin.status().ToString();
    return pin.ok() ? *std::move(pin) : VaddrPin();
  }
  static Range RangeOf(const Mapped& memory) {
    return {memory.start(), memory.start() + memory.size()};
  }
};

TEST_F(FramesTest, AreOneForEachPageThatTheRangeTouches) {
  const Mapped memory(4 * kPage);
  const VaddrPin pin = Pin({memory.start() + 100, memory.start() + 2 * kPage + 1});
  auto frames = pin.Frames();
  ASSERT_TRUE(frames.ok()) << frames.status().ToString();
  ASSERT_EQ(frames->size(), 3U);
  for (const std::uint64_t frame : *frames) EXPECT_NE(frame, 0U);
  EXPECT_NE(frames->at(0), frames->at(1));
}

TEST_F(FramesTest, OfAPageThatIsNotThereAreZero) {
  const Mapped memory(2 * kPage);
  memory.data()[0] = 'x';
  PinRequest request;
  request.range = RangeOf(memory);
  request.kind = PinKind::kFrameOnly;
  const auto pin = PinVaddr(nullptr, request);
  ASSERT_TRUE(pin.ok());
  auto frames = pin->Frames();
  ASSERT_TRUE(frames.ok());
  EXPECT_NE(frames->at(0), 0U);
  EXPECT_EQ(frames->at(1), 0U);
  memory.data()[kPage] = 'x';  // Looked at once only, and not moved: it was not there.
  EXPECT_EQ(*pin->Frames(), *frames);
  EXPECT_TRUE(pin->MovedFrames()->empty());
}

TEST_F(FramesTest, OfTwoMappingsOfOneFileAreShared) {
  const Fd fd(memfd_create("shared", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), 4 * kPage), 0);
  const auto map = [&fd] {
    return reinterpret_cast<std::uintptr_t>(
        mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  };
  const std::uintptr_t one = map();
  const std::uintptr_t other = map();
  const std::size_t counted = FrameMap::OfProcess().size();
  {
    const VaddrPin ones = Pin({one, one + 4 * kPage});
    VaddrPin others = Pin({other + kPage, other + 3 * kPage});
    auto shared = ones.SharedFrames();
    ASSERT_TRUE(shared.ok()) << shared.status().ToString();
    EXPECT_TRUE(shared->empty());  // Nobody has looked at the other's frames yet.
    ASSERT_TRUE(others.Frames().ok());
    EXPECT_EQ(*ones.SharedFrames(), (std::vector<Range>{{one + kPage, one + 3 * kPage}}));
    EXPECT_EQ(*others.SharedFrames(), (std::vector<Range>{{other + kPage, other + 3 * kPage}}));
    EXPECT_TRUE(ones.MovedFrames()->empty());
    others = VaddrPin();
    EXPECT_TRUE(ones.SharedFrames()->empty());
  }
  EXPECT_EQ(FrameMap::OfProcess().size(), counted);
  munmap(reinterpret_cast<void*>(one), 4 * kPage);
  munmap(reinterpret_cast<void*>(other), 4 * kPage);
}

TEST_F(FramesTest, OfAMappingThatWasReplacedHaveMoved) {
  const Mapped memory(4 * kPage);
  std::memset(memory.data(), 'x', memory.size());
  const VaddrPin pin = Pin(RangeOf(memory));
  ASSERT_TRUE(pin.Frames().ok());
  void* const replaced = memory.data() + kPage;
  ASSERT_EQ(mmap(replaced, kPage, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0),
            replaced);
  auto moved = pin.MovedFrames();
  ASSERT_TRUE(moved.ok()) << moved.status().ToString();
  const std::uintptr_t start = memory.start() + kPage;
  EXPECT_EQ(*moved, (std::vector<Range>{{start, start + kPage}}));
}

TEST_F(FramesTest, InAForkedChildAreThoseOfACopy) {
  const Mapped memory(4 * kPage);
  std::memset(memory.data(), 'x', memory.size());
  const VaddrPin pin = Pin(RangeOf(memory));
  const VaddrPin unseen = Pin(RangeOf(memory));
  ASSERT_TRUE(pin.Frames().ok());
  EXPECT_EQ(RunInChild([&]() -> Complaint {
              std::memset(memory.data(), 'y', memory.size());
              const auto moved = pin.MovedFrames();
              if (!moved.ok()) return moved.status().ToString();
              if (*moved != std::vector<Range>{RangeOf(memory)}) return "not all has moved";
              if (!absl::IsFailedPrecondition(pin.SharedFrames().status())) return "SharedFrames";
              if (!absl::IsFailedPrecondition(unseen.Frames().status())) return "Frames";
              return "";
            }),
            "");
  EXPECT_TRUE(pin.MovedFrames()->empty());
}

TEST_F(FramesTest, OfAPinThatItsFileTookBackAreNotCounted) {
  const Mapped memory(kPage);
  auto created = PinFile::Create();
  ASSERT_TRUE(created.ok());
  const Fd holder(created->holder_fd);
  PinRequest request;
  request.range = RangeOf(memory);
  request.rights = Access::kLocalWrite;
  request.file = created->file;
  const std::size_t counted = FrameMap::OfProcess().size();
  const auto pin = PinVaddr(device_, request);
  const auto late = PinVaddr(device_, request);
  ASSERT_TRUE(pin.ok() && late.ok());
  ASSERT_TRUE(pin->Frames().ok());
  EXPECT_EQ(FrameMap::OfProcess().size(), counted + 1);
  ASSERT_TRUE(created->file->Close().ok());
  EXPECT_EQ(FrameMap::OfProcess().size(), counted);
  EXPECT_TRUE(late->Frames().ok());
  EXPECT_EQ(FrameMap::OfProcess().size(), counted);
}

TEST_F(FramesTest, AreNotShownToAProcessWithoutPrivilege) {
  const Mapped memory(kPage);
  const VaddrPin pin = Pin(RangeOf(memory));
  EXPECT_EQ(RunInChild([&]() -> Complaint {
              if (!testing::DropPrivilege(4)) return "cannot drop privilege";
              memory.data()[0] = 'x';
              PinRequest request;
              request.range = RangeOf(memory);
              request.kind = PinKind::kFrameOnly;
              const auto own = PinVaddr(nullptr, request);
              if (!own.ok()) return own.status().ToString();
              const absl::Status refused = own->Frames().status();
              // After setuid /proc/self may belong to root (not dumpable).
              if (absl::IsPermissionDenied(refused) || absl::IsUnavailable(refused)) return "";
              return refused.ToString();
            }),
            "");
}

}  // namespace
}  // namespace linchpin
