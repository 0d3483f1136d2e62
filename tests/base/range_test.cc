// Ranges of addresses: which are refused, and how they lie to each other.
#include "linchpin/range.h"

#include <cstdint>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;

constexpr std::uintptr_t kLastAddress = std::numeric_limits<std::uintptr_t>::max();

const void* At(std::uintptr_t address) {
  return reinterpret_cast<const void*>(address);
}

TEST(Range, OfAnAddressAndALengthIsHalfOpen) {
  const absl::StatusOr<Range> range = Range::Of(At(0x1000), 0x234);
  ASSERT_TRUE(range.ok()) << range.status();
  EXPECT_EQ(*range, (Range{0x1000, 0x1234}));
  EXPECT_EQ(range->size(), 0x234U);
  EXPECT_FALSE(range->empty());
}

TEST(Range, RefusesANullAddress) {
  const absl::Status status = Range::Of(nullptr, 4096).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("null"));
}

TEST(Range, RefusesLengthZeroAndNamesTheAddress) {
  const absl::Status status = Range::Of(At(0x1000), 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("length at 0x1000 is 0"));
}

TEST(Range, RefusesToWrapAround) {
  for (const auto& [address, length] : {std::pair<std::uintptr_t, std::size_t>{kLastAddress, 2},
                                        {kLastAddress - 4095, 4097},
                                        {0x1000, kLastAddress},
                                        {2, kLastAddress}}) {
    const absl::Status status = Range::Of(At(address), length).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address << " " << length;
    EXPECT_THAT(std::string(status.message()), HasSubstr("wrap"));
  }
}

TEST(Range, WhoseEndHasNoAddressIsRefusedToo) {
  EXPECT_EQ(Range::Of(At(kLastAddress), 1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Range::Of(At(kLastAddress - 4095), 4096).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Range, MayEndAtTheLastAddress) {
  const absl::StatusOr<Range> range = Range::Of(At(1), kLastAddress - 1);
  ASSERT_TRUE(range.ok()) << range.status();
  EXPECT_EQ(*range, (Range{1, kLastAddress}));
}

TEST(Range, ContainsItselfAndWhatLiesWithin) {
  const Range range{0x1000, 0x2000};
  EXPECT_TRUE(range.Contains(range));
  EXPECT_TRUE(range.Contains({0x1000, 0x1001}));
  EXPECT_TRUE(range.Contains({0x1fff, 0x2000}));
  EXPECT_FALSE(range.Contains({0x0fff, 0x1001}));
  EXPECT_FALSE(range.Contains({0x1fff, 0x2001}));
  EXPECT_FALSE(range.Contains({0x0fff, 0x2001}));
}

TEST(Range, NeighboursDoNotOverlap) {
  const Range range{0x1000, 0x2000};
  EXPECT_FALSE(range.Overlaps({0x2000, 0x3000}));
  EXPECT_FALSE(range.Overlaps({0x0000, 0x1000}));
  EXPECT_TRUE(range.Overlaps({0x1fff, 0x3000}));
  EXPECT_TRUE(range.Overlaps({0x0000, 0x1001}));
  EXPECT_TRUE(range.Overlaps({0x0000, 0x3000}));
  EXPECT_TRUE(range.Overlaps({0x1800, 0x1801}));
}

TEST(Range, IsEmptyByDefaultAndWhenItEndsBeforeItStarts) {
  EXPECT_TRUE(Range{}.empty());
  EXPECT_TRUE((Range{0x2000, 0x2000}).empty());
  EXPECT_TRUE((Range{0x2000, 0x1000}).empty());
}

TEST(Range, NamesItsBoundsAndSize) {
  EXPECT_EQ((Range{0x7f0000001000, 0x7f0000002000}).ToString(),
            "[0x7f0000001000, 0x7f0000002000) 4096 bytes");
}

}  // namespace
}  // namespace linchpin
