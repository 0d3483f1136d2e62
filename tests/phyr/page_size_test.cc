// BestPageSize, against its definition.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "linchpin/phyr.h"
#include "tests/phyr/naive.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kSmall = 4096;
constexpr std::uint64_t kHuge = 2 << 20;
constexpr std::uint64_t kGiant = 1 << 30;

PhyrList ListOf(std::initializer_list<Phyr> entries) {
  PhyrList list;
  for (const Phyr& entry : entries) list.Append(entry);
  return list;
}

// Whether each page of `page_size`, as far as the registration reaches into it, is one piece of
// physical memory at the same offset in a physical page: the definition.
bool CanTranslate(const std::vector<testing::NaiveByte>& bytes, std::uint64_t iova,
                  std::uint64_t page_size) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::uint64_t at = iova + i;
    if (bytes[i].address % page_size != at % page_size) return false;
    const bool same_page = i != 0 && at % page_size != 0;
    if (same_page && bytes[i].address != bytes[i - 1].address + 1) return false;
  }
  return true;
}

std::optional<std::uint64_t> NaiveBest(const PhyrList& list, std::uint64_t iova,
                                       std::uint64_t supported) {
  const std::vector<testing::NaiveByte> bytes = testing::BytesOf(list);
  const std::uint64_t last = iova + bytes.size() - 1;
  std::optional<std::uint64_t> best;
  for (std::uint64_t size = 1; size != 0 && size <= 1 << 16; size <<= 1) {
    if ((supported & size) == 0) continue;
    if (CanTranslate(bytes, iova, size)) best = size;
    if (iova / size == last / size) break;  // One page covers it: no larger one is needed.
  }
  return best;
}

TEST(BestPageSize, AgreesWithItsDefinitionForAllAlignmentsOfSmallLists) {
  std::mt19937_64 random(7);
  int found = 0;
  for (int round = 0; round < 400; ++round) {
    PhyrList list;
    std::uint64_t next = random() % 64;
    for (std::uint64_t i = random() % 4 + 1; i > 0; --i) {
      const bool whole = random() % 2 == 0;
      if (random() % 2 == 0) next = random() % 16 * (whole ? 8 : 5);
      const std::uint64_t length = whole ? (1 + random() % 4) * 8 : 1 + random() % 24;
      list.Append(Phyr(next, length, random() % 4 == 0 ? PhyrFlags::kDirty : PhyrFlags::kNone));
      next += length;
    }
    for (std::uint64_t iova = 0; iova < 64; ++iova) {
      const std::uint64_t supported = (random() & 0xff) | 1;
      const auto best = BestPageSize(list, iova, supported);
      const auto naive = NaiveBest(list, iova, supported);
      ASSERT_EQ(best.ok(), naive.has_value()) << best.status() << " at " << iova;
      if (!naive) continue;
      ++found;
      ASSERT_EQ(best->page_size, *naive) << "iova " << iova << " supported " << supported;
      const std::uint64_t last = iova + list.length() - 1;
      ASSERT_EQ(best->entries, last / *naive - iova / *naive + 1);
    }
  }
  EXPECT_GT(found, 10'000);
}

TEST(BestPageSize, PicksHugePagesWhereTheAddressesAgree) {
  const std::uint64_t sizes = kSmall | kHuge | kGiant;
  const PhyrList list = ListOf({Phyr(16 * kHuge, 4 * kHuge), Phyr(64 * kHuge, 4 * kHuge)});
  const auto aligned = BestPageSize(list, 8 * kHuge, sizes);
  ASSERT_TRUE(aligned.ok());
  EXPECT_EQ(aligned->page_size, kHuge);
  EXPECT_EQ(aligned->entries, 8U);
  const auto shifted = BestPageSize(list, 8 * kHuge + kSmall, sizes);
  ASSERT_TRUE(shifted.ok());
  EXPECT_EQ(shifted->page_size, kSmall);
  EXPECT_EQ(shifted->entries, 4096U);
}

TEST(BestPageSize, IsNoLargerThanNeededForOnePage) {
  const auto small = BestPageSize(ListOf({Phyr(kGiant + 10, 100)}), 10, kSmall | kHuge | kGiant);
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(small->page_size, kSmall);
  EXPECT_EQ(small->entries, 1U);
}

TEST(BestPageSize, OfUnknownAddressesIsTheirGranule) {
  PhyrList list;
  list.Append(Phyr(kHuge + kSmall, kHuge - kSmall, PhyrFlags::kUnknownAddress));
  list.Append(Phyr(kHuge, kHuge, PhyrFlags::kUnknownAddress));
  const auto best = BestPageSize(list, 7 * kHuge + kSmall, kSmall | kHuge | kGiant);
  ASSERT_TRUE(best.ok());
  EXPECT_EQ(best->page_size, kHuge);
  EXPECT_EQ(best->entries, 2U);
}

TEST(BestPageSize, SaysWhichEntryNoPageSizeCanTranslate) {
  const PhyrList list = ListOf({Phyr(kSmall, kSmall), Phyr(10 * kSmall + 8, kSmall)});
  const auto best = BestPageSize(list, 0, kSmall | kHuge);
  EXPECT_EQ(best.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(best.status().message(), HasSubstr("entry 1"));
  const auto absent = BestPageSize(ListOf({Phyr(0, kSmall, PhyrFlags::kAbsent)}), 0, kSmall);
  EXPECT_THAT(absent.status().message(), HasSubstr("entry 0"));
}

TEST(BestPageSize, BadArgumentsAreNamed) {
  const PhyrList list = ListOf({Phyr(kSmall, 2 * kSmall)});
  EXPECT_THAT(BestPageSize(PhyrList(), 0, kSmall).status().message(), HasSubstr("empty list"));
  EXPECT_THAT(BestPageSize(list, 0, 0).status().message(), HasSubstr("page size"));
  EXPECT_THAT(BestPageSize(list, ~0ULL - kSmall, kSmall).status().message(),
              HasSubstr("last address"));
  EXPECT_TRUE(BestPageSize(list, 0 - 2 * kSmall, kSmall).ok());
}

}  // namespace
}  // namespace linchpin
