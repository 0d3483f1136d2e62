// Phyr and PhyrList, against their bytes one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "linchpin/phyr.h"
#include "tests/phyr/naive.h"

namespace linchpin {
namespace {

using testing::BytesOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::NaiveByte;
using testing::RandomList;

constexpr std::uint64_t kTop = std::numeric_limits<std::uint64_t>::max();
constexpr PhyrFlags kPinned = PhyrFlags::kPinned;

TEST(Phyr, KeepsTheWholeAddressTheLengthAndEveryFlag) {
  for (int bit = 0; bit < Phyr::kFlagBits; ++bit) {
    const auto flag = static_cast<PhyrFlags>(1 << bit);
    const bool placeless = Any(flag & kPlaceless);
    const Phyr phyr(placeless ? 0 : kTop - 4095, 4096, flag);
    EXPECT_EQ(phyr.address(), placeless ? 0 : kTop - 4095);
    EXPECT_EQ(phyr.length(), 4096U);
    EXPECT_EQ(phyr.flags(), flag);
    EXPECT_EQ(phyr.last(), placeless ? 4095 : kTop);
    EXPECT_NE(ToString(flag), "none");
  }
  EXPECT_EQ(Phyr(0, Phyr::kMaxLength).length(), Phyr::kMaxLength);
}

TEST(Phyr, WhatDoesNotFitIsAnErrorThatSaysSo) {
  EXPECT_THAT(Phyr::Of(0, Phyr::kMaxLength + 1, kPinned).status().message(),
              HasSubstr("use several"));
  EXPECT_THAT(Phyr::Of(kTop, 2, kPinned).status().message(), HasSubstr("beyond the last"));
  ASSERT_TRUE(Phyr::Of(kTop, 1, kPinned).ok());
  EXPECT_EQ(*Phyr::Of(4096, 17, kPinned), Phyr(4096, 17, kPinned));
  EXPECT_DEATH(Phyr(kTop, 2), "beyond the last");
}

TEST(Phyr, AnAddressIsOneForItsFlags) {
  const struct {
    std::uint64_t address;
    PhyrFlags flags;
    const char* says;
  } cases[] = {{0, static_cast<PhyrFlags>(0xf000), "no PhyrFlags"},
               {4096, PhyrFlags::kAbsent, "no address"},
               {4096, PhyrFlags::kSwapped, "no address"},
               {0, PhyrFlags::kUnknownAddress, "no address"},
               {8000, PhyrFlags::kUnknownAddress, "no address"},  // 4096 + 3904, and 1,000 more.
               {0, PhyrFlags::kUnknownAddress | PhyrFlags::kAbsent, "no address"}};
  for (const auto& test : cases) {
    const absl::Status status = Phyr::Of(test.address, 1000, test.flags).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << ToString(test.flags);
    EXPECT_THAT(status.message(), HasSubstr(test.says));
  }
  EXPECT_TRUE(Phyr::Of(8191, 1, PhyrFlags::kUnknownAddress).ok());
}

TEST(PhyrList, MergesNeighboursOnlyWhenAddressAndFlagsAgree) {
  PhyrList list;
  list.Append(Phyr(4096, 100, kPinned));
  list.Append(Phyr(4196, 3996, kPinned));
  list.Append(Phyr(8192, 4096, kPinned | PhyrFlags::kDirty));
  list.Append(Phyr(16384, 0, kPinned));  // Nothing.
  list.Append(Phyr(20480, 4096, kPinned | PhyrFlags::kDirty));
  EXPECT_THAT(list.entries(),
              ElementsAre(Phyr(4096, 4096, kPinned), Phyr(8192, 4096, kPinned | PhyrFlags::kDirty),
                          Phyr(20480, 4096, kPinned | PhyrFlags::kDirty)));
  EXPECT_EQ(list.length(), 3U * 4096);
}

TEST(PhyrList, DoesNotMergeAcrossTheLastAddressNorBeyondTheLongestLength) {
  PhyrList list;
  list.Append(Phyr(kTop - 4095, 4096));
  list.Append(Phyr(0, 4096));
  list.Append(Phyr(4096, Phyr::kMaxLength));
  EXPECT_EQ(list.size(), 3U);
}

TEST(PhyrList, WhatIsNowhereIsOneEntryAndUnknownPagesAreEachTheirOwn) {
  PhyrList list;
  list.Append(Phyr(0, 4096, PhyrFlags::kAbsent));
  list.Append(Phyr(0, 8192, PhyrFlags::kAbsent));
  list.Append(Phyr(0, 4096, PhyrFlags::kSwapped));
  const Phyr unknown(4096, 4096, PhyrFlags::kUnknownAddress);
  list.Append(unknown);
  list.Append(unknown);
  EXPECT_THAT(list.entries(), ElementsAre(Phyr(0, 12288, PhyrFlags::kAbsent),
                                          Phyr(0, 4096, PhyrFlags::kSwapped), unknown, unknown));
  EXPECT_EQ(Phyr(4096 + 100, 50, PhyrFlags::kUnknownAddress).granule(), 4096U);
  EXPECT_FALSE(unknown.placed());
}

TEST(PhyrList, FlagsOfTheAddressAreNeitherAddedNorTakenAway) {
  PhyrList list;
  list.Append(Phyr(4096, 4096, kPinned));
  list.Append(Phyr(0, 4096, PhyrFlags::kAbsent));
  EXPECT_EQ(list.With(kAddressFlags), list);
  EXPECT_EQ(list.Without(kAddressFlags), list);
}

TEST(PhyrList, SaysTheMostThereIsWhenItIsLongerThanAllAddresses) {
  PhyrList list;
  for (int i = 0; i < 4098; ++i) list.Append(Phyr(0, Phyr::kMaxLength));
  EXPECT_EQ(list.length(), PhyrList::kMaxLength);
  EXPECT_EQ(BestPageSize(list, 0, 4096).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PhyrList, CanBeAppendedToItself) {
  PhyrList list;
  list.Append(Phyr(4096, 4096));
  list.Append(Phyr(0, 4096));
  list.Append(list);
  EXPECT_THAT(list.entries(), ElementsAre(Phyr(4096, 4096), Phyr(0, 8192), Phyr(0, 4096)));
}

TEST(PhyrList, SlicingBeyondTheEndIsAnError) {
  PhyrList list;
  list.Append(Phyr(4096, 100));
  EXPECT_EQ(list.Slice(50, 51).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(list.Slice(kTop, 2).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(list.Split(101).status().code(), absl::StatusCode::kOutOfRange);
  ASSERT_TRUE(list.Slice(100, 0).ok());
  EXPECT_TRUE(list.Slice(100, 0)->empty());
}

class PhyrListModel : public ::testing::TestWithParam<std::uint64_t> {};

// The seed is the parameter, and so in the test's name.
TEST_P(PhyrListModel, AgreesWithItsBytes) {
  std::mt19937_64 random(GetParam());
  for (int round = 0; round < 300; ++round) {
    const PhyrList list = RandomList(random);
    const std::vector<NaiveByte> bytes = BytesOf(list);
    ASSERT_EQ(list.length(), bytes.size());
    for (std::size_t i = 1; i < list.size(); ++i) ASSERT_FALSE(list[i - 1].Continues(list[i]));

    const std::uint64_t from = random() % (bytes.size() + 1);
    const std::uint64_t length = random() % (bytes.size() - from + 1);
    const auto slice = list.Slice(from, length);
    ASSERT_TRUE(slice.ok());
    const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(from);
    ASSERT_EQ(BytesOf(*slice),
              std::vector<NaiveByte>(first, first + static_cast<std::ptrdiff_t>(length)));

    auto halves = list.Split(from);
    ASSERT_TRUE(halves.ok());
    halves->first.Append(halves->second);
    ASSERT_EQ(halves->first, list);

    const PhyrList flagged = list.With(PhyrFlags::kDirty);
    ASSERT_EQ(flagged.length(), list.length());
    for (const Phyr& entry : flagged) ASSERT_TRUE(entry.Has(PhyrFlags::kDirty));
    ASSERT_EQ(flagged.Without(PhyrFlags::kDirty), list);
  }
}

TEST_P(PhyrListModel, PiecesKeepTheLimitsAndLoseNothing) {
  std::mt19937_64 random(GetParam());
  for (int round = 0; round < 300; ++round) {
    const PhyrList list = RandomList(random);
    PieceLimits limits;
    if (random() % 3 != 0) limits.boundary = std::uint64_t{1} << random() % 9;
    if (random() % 3 != 0) limits.max_length = 1 + random() % 40;
    std::vector<NaiveByte> bytes;
    for (const Phyr& piece : list.Pieces(limits)) {
      ASSERT_GT(piece.length(), 0U);
      if (limits.max_length != 0) {
        ASSERT_LE(piece.length(), limits.max_length);
      }
      if (limits.boundary != 0 && !piece.Has(kPlaceless)) {
        ASSERT_EQ(piece.address() / limits.boundary, piece.last() / limits.boundary);
      }
      testing::AppendBytes(piece, bytes);
    }
    ASSERT_EQ(bytes, BytesOf(list));
  }
}

TEST_P(PhyrListModel, PagesCoverEachEntry) {
  std::mt19937_64 random(GetParam());
  for (int round = 0; round < 300; ++round) {
    const PhyrList list = RandomList(random);
    const std::uint64_t page_size = std::uint64_t{1} << random() % 9;
    std::vector<std::pair<std::uint64_t, std::size_t>> expected;
    for (std::size_t i = 0; i < list.size(); ++i) {
      std::uint64_t before = kTop;
      const Phyr& entry = list[i];
      for (std::uint64_t at = entry.address(); at - entry.address() < entry.length(); ++at) {
        if (at / page_size == before) continue;
        before = at / page_size;
        expected.emplace_back(entry.Has(kPlaceless) ? 0 : before * page_size, i);
      }
    }
    std::vector<std::pair<std::uint64_t, std::size_t>> pages;
    for (const DevicePage& page : list.Pages(page_size)) {
      pages.emplace_back(page.address, page.entry);
    }
    ASSERT_EQ(pages, expected) << "page size " << page_size;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PhyrListModel, ::testing::Values(1, 2, 3, 4, 5));

}  // namespace
}  // namespace linchpin
