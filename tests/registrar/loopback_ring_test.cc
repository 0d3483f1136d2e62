// Tests moves that the kernel cuts short: nothing that follows may move, or bytes would change
// places.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>

#include "lib/base/fd.h"
#include "lib/registrar/loopback/ring.h"
#include "tests/registrar/loopback_fixture.h"

namespace linchpin {
namespace {

using loopback::Direction;
using loopback::Moved;
using loopback::PinnedExtent;
using loopback::Ring;
using testing::kPage;
using testing::Mapped;

class LoopbackRing : public ::testing::Test {
 protected:
  void SetUp() override {
    auto ring = Ring::Create();
    if (absl::IsUnavailable(ring.status())) GTEST_SKIP() << ring.status().ToString();
    ASSERT_TRUE(ring.ok()) << ring.status().ToString();
    ring_ = *std::move(ring);
    ASSERT_EQ(ring_->Pin(7, {memory_.start(), memory_.start() + memory_.size()}), 0);
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
    read_end_.Reset(ends[0]);
    write_end_.Reset(ends[1]);
    ASSERT_EQ(fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kPage)), static_cast<int>(kPage));
  }

  PinnedExtent Extent(std::size_t offset, std::size_t length) const {
    return {{ring_.get(), 7}, memory_.start() + offset, length};
  }

  const Mapped memory_{4 * kPage};
  std::unique_ptr<Ring> ring_;
  Fd read_end_;
  Fd write_end_;
};

TEST_F(LoopbackRing, NothingFollowsAMoveThatAFullPipeCutShort) {
  testing::FillRandomly({memory_.data(), memory_.size()}, 11);
  const std::array<PinnedExtent, 2> extents = {Extent(3000, 2 * kPage), Extent(0, 10)};
  const Moved moved = ring_->Move(Direction::kToPipe, write_end_.get(), extents);
  EXPECT_EQ(moved.bytes, kPage);
  std::string arrived(2 * kPage, 0);
  ASSERT_EQ(read(read_end_.get(), arrived.data(), arrived.size()), static_cast<ssize_t>(kPage));
  EXPECT_EQ(std::memcmp(arrived.data(), memory_.data() + 3000, kPage), 0);
}

TEST_F(LoopbackRing, NothingFollowsAMoveThatAnEmptyPipeCutShort) {
  const std::string text = "a hundred bytes, or nearly so";
  ASSERT_EQ(write(write_end_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  const std::array<PinnedExtent, 3> extents = {Extent(5, 10), Extent(100, 200), Extent(1000, 7)};
  const Moved moved = ring_->Move(Direction::kFromPipe, read_end_.get(), extents);
  EXPECT_EQ(moved.bytes, text.size());
  EXPECT_EQ(std::string(memory_.data() + 5, 10) + (memory_.data() + 100), text);
  EXPECT_STREQ(memory_.data() + 1000, "");
}

TEST_F(LoopbackRing, AMoveOutsideOfWhatIsPinnedFailsAndTheRingServesOn) {
  const std::array<PinnedExtent, 1> beyond = {Extent(4 * kPage - 1, 2)};
  const Moved moved = ring_->Move(Direction::kToPipe, write_end_.get(), beyond);
  EXPECT_EQ(moved.bytes, 0U);
  EXPECT_EQ(moved.error, EFAULT);
  const std::array<PinnedExtent, 1> within = {Extent(4 * kPage - 1, 1)};
  EXPECT_EQ(ring_->Move(Direction::kToPipe, write_end_.get(), within).bytes, 1U);
  ASSERT_EQ(ring_->Unpin(7), 0);
  EXPECT_EQ(ring_->Move(Direction::kToPipe, write_end_.get(), within).error, EFAULT);
}

}  // namespace
}  // namespace linchpin
