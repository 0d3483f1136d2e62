// The engine itself, by frame numbers from the page map: what the other tests here rest on.
#include "tests/edu/edu_engine.h"

#include <array>
#include <cstring>
#include <vector>

#include "tests/edu/fixture.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

class EduEngineOnFrames : public EduTest {
 protected:
  void SetUp() override {
    EduTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    source_ = Memory(PageKind::kSmall, 4 * kPage);
    target_ = Memory(PageKind::kSmall, 4 * kPage);
    ASSERT_TRUE(source_ && target_);
    Fill(source_->bytes(), random_);
    Fill(target_->bytes(), random_);
    source_pin_ = Pin(source_->range());
    target_pin_ = Pin(target_->range());
    ASSERT_TRUE(source_pin_ && target_pin_);
  }
  void TearDown() override {
    source_pin_.reset();
    target_pin_.reset();
    EduTest::TearDown();
  }

  BusRange Source(std::size_t offset, std::size_t bytes) const {
    return {source_pin_->BusAddress(offset), bytes};
  }
  BusRange Target(std::size_t offset, std::size_t bytes) const {
    return {target_pin_->BusAddress(offset), bytes};
  }

  std::unique_ptr<PageMemory> source_;
  std::unique_ptr<PageMemory> target_;
  std::unique_ptr<PinnedRange> source_pin_;
  std::unique_ptr<PinnedRange> target_pin_;
};

TEST_F(EduEngineOnFrames, CopiesBetweenPagesByTheirFramesAndTouchesNothingElse) {
  const auto target = target_->bytes();
  std::vector<std::byte> expected(target.begin(), target.end());
  std::memcpy(expected.data() + kPage + 5, source_->bytes().data() + 3 * kPage + 17, 1001);
  ASSERT_TRUE(engine().CopyToDevice(Source(3 * kPage + 17, 1001), 3000).ok());
  ASSERT_TRUE(engine().CopyFromDevice(3000, Target(kPage + 5, 1001)).ok());
  EXPECT_EQ(FirstDifference(expected, target), expected.size());
}

TEST_F(EduEngineOnFrames, EveryEngineCopies) {
  const auto copy = [&](EduEngine& /*whichever is free*/, std::size_t job) {
    const std::array from = {Source(64 * job, 64)};
    const std::array to = {Target(64 * job, 64)};
    return CopyThrough(*engines_[job], from, to);
  };
  ASSERT_EQ(ForEachJob(engines_, engines_.size(), copy), absl::OkStatus());
  const std::size_t bytes = 64 * engines_.size();
  EXPECT_EQ(FirstDifference(target_->bytes().first(bytes), source_->bytes().first(bytes)), bytes);
  for (const auto& each : engines_) EXPECT_EQ(each->transfers(), 2U);
}

TEST_F(EduEngineOnFrames, SegmentsAreGatheredAndScatteredInTheirOrder) {
  // More than the engine's buffer holds, and no segment of the one ends where one of the other
  // does.
  const std::array from = {Source(100, 3000), Source(kPage, 4096), Source(3 * kPage + 1, 7)};
  const std::array to = {Target(2 * kPage + 9, 4000), Target(3, 2000), Target(kPage + 50, 1103)};
  ASSERT_EQ(CopyThrough(engine(), from, to), absl::OkStatus());
  std::vector<std::byte> sent;
  std::vector<std::byte> arrived;
  const auto append = [](std::vector<std::byte>& all, std::span<const std::byte> part) {
    all.insert(all.end(), part.begin(), part.end());
  };
  append(sent, source_->bytes().subspan(100, 3000));
  append(sent, source_->bytes().subspan(kPage, 4096));
  append(sent, source_->bytes().subspan(3 * kPage + 1, 7));
  append(arrived, target_->bytes().subspan(2 * kPage + 9, 4000));
  append(arrived, target_->bytes().subspan(3, 2000));
  append(arrived, target_->bytes().subspan(kPage + 50, 1103));
  EXPECT_EQ(FirstDifference(arrived, sent), sent.size());
}

TEST_F(EduEngineOnFrames, WhatIsOutsideItsBufferOrItsMaskIsRefused) {
  constexpr std::size_t kAll = EduEngine::kBufferBytes;
  const auto refused = [&](BusRange memory, std::size_t offset) {
    return absl::IsInvalidArgument(engine().CopyToDevice(memory, offset)) &&
           absl::IsInvalidArgument(engine().CopyFromDevice(offset, memory));
  };
  EXPECT_TRUE(refused(Source(0, 0), 0));
  EXPECT_TRUE(refused(Source(0, kAll + 1), 0));
  EXPECT_TRUE(refused(Source(0, 1), kAll));
  EXPECT_TRUE(refused(Source(0, 1), kAll + 1));
  EXPECT_TRUE(refused(Source(0, 2), ~std::size_t{0}));
  EXPECT_TRUE(refused({EduEngine::kAddressMask, 2}, 0));
  EXPECT_TRUE(refused({~std::uint64_t{0}, 2}, 0));
  EXPECT_EQ(engine().transfers(), 0U);
  ASSERT_TRUE(engine().CopyToDevice(Source(0, kAll), 0).ok());
  EXPECT_EQ(engine().transfers(), 1U);
}

TEST_F(EduEngineOnFrames, MemoryThatTheTestHasNotPinnedIsRefused) {
  const auto refused = [&](BusRange memory) {
    return absl::IsFailedPrecondition(engine().CopyToDevice(memory, 0)) &&
           absl::IsFailedPrecondition(engine().CopyFromDevice(0, memory));
  };
  EXPECT_TRUE(refused({0x1000, 8})) << "the machine's own";
  const BusRange once_pinned = Target(0, 8);
  target_pin_.reset();
  EXPECT_TRUE(refused(once_pinned));
  EXPECT_EQ(engine().transfers(), 0U);
}

TEST_F(EduEngineOnFrames, ListsOfDifferentLengthsAreRefused) {
  const std::array from = {Source(0, 10)};
  const std::array to = {Target(0, 9)};
  EXPECT_TRUE(absl::IsInvalidArgument(CopyThrough(engine(), from, to)));
  EXPECT_EQ(engine().transfers(), 0U);
}

}  // namespace
}  // namespace linchpin::testing
