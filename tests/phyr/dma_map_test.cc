// DmaMap: that the device reaches the list's bytes, in their order, within its limits.
#include "linchpin/dma_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "tests/phyr/naive.h"

namespace linchpin {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kPage = 4096;
constexpr PhyrFlags kPinned = PhyrFlags::kPinned;
constexpr PhyrFlags kBus = PhyrFlags::kBusAddress;

PhyrList ListOf(std::initializer_list<Phyr> entries) {
  PhyrList list;
  for (const Phyr& entry : entries) list.Append(entry);
  return list;
}

std::shared_ptr<IovaSpace> SpaceOf(std::uint64_t granules, std::uint64_t granule = kPage) {
  return IovaSpace::Create(
             {.first = 16 * granule, .last = (16 + granules) * granule - 1, .granule = granule})
      .value();
}

TEST(DmaMap, GivesPhysicalAddressesWithoutAnIovaSpace) {
  const auto mapping = DmaMap(ListOf({Phyr(kPage + 10, 100, kPinned), Phyr(8 * kPage, kPage)}));
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  EXPECT_THAT(mapping->segments(),
              ElementsAre(Phyr(kPage + 10, 100, kPinned), Phyr(8 * kPage, kPage)));
  EXPECT_THAT(mapping->translations(), IsEmpty());
}

TEST(DmaMap, CutsAtTheBoundaryAndAtTheLongestSegment) {
  const auto mapping =
      DmaMap(ListOf({Phyr(kPage - 100, 2 * kPage)}), {.boundary = kPage, .max_segment = 3000});
  ASSERT_TRUE(mapping.ok());
  EXPECT_THAT(mapping->segments(),
              ElementsAre(Phyr(kPage - 100, 100), Phyr(kPage, 3000), Phyr(kPage + 3000, 1096),
                          Phyr(2 * kPage, 3000), Phyr(2 * kPage + 3000, 996)));
}

TEST(DmaMap, MergesNeighboursOfOtherFlagsWhereItMay) {
  const PhyrList list = ListOf({Phyr(kPage, kPage, kPinned | PhyrFlags::kDirty),
                                Phyr(2 * kPage, 100, kPinned), Phyr(2 * kPage + 100, 50)});
  EXPECT_THAT(DmaMap(list)->segments(), ElementsAre(Phyr(kPage, kPage + 150)));
  EXPECT_THAT(DmaMap(list, {.merge_granule = kPage})->segments(),
              ElementsAre(Phyr(kPage, kPage + 100, kPinned), Phyr(2 * kPage + 100, 50)));
  EXPECT_EQ(DmaMap(list, {.merge_granule = 0})->segments().size(), 3U);
}

TEST(DmaMap, ThroughAnIovaSpaceScatteredPagesAreOneSegment) {
  const auto space = SpaceOf(16);
  auto mapping =
      DmaMap(ListOf({Phyr(9 * kPage + 100, kPage - 100), Phyr(3 * kPage, kPage), Phyr(kPage, 10)}),
             {.iova = space});
  ASSERT_TRUE(mapping.ok()) << mapping.status();
  const std::uint64_t base = 16 * kPage;
  EXPECT_THAT(mapping->segments(), ElementsAre(Phyr(base + 100, 2 * kPage - 90)));
  EXPECT_THAT(mapping->translations(),
              ElementsAre(DmaTranslation{base, Phyr(9 * kPage, kPage)},
                          DmaTranslation{base + kPage, Phyr(3 * kPage, kPage)},
                          DmaTranslation{base + 2 * kPage, Phyr(kPage, kPage)}));
  EXPECT_EQ(space->bytes_allocated(), 3 * kPage);
  DmaUnmap(*mapping);
  EXPECT_EQ(space->bytes_allocated(), 0U);
  EXPECT_THAT(mapping->segments(), IsEmpty());
  DmaUnmap(*mapping);  // Of nothing.
}

TEST(DmaMap, BusAddressesPassThroughAndAreNeverUnmapped) {
  const auto space = SpaceOf(16);
  const Phyr bus(1ULL << 40, 3 * kPage, kBus | PhyrFlags::kDevice);
  {
    const auto mapping =
        DmaMap(ListOf({Phyr(kPage, kPage), bus, Phyr(2 * kPage, kPage)}), {.iova = space});
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    EXPECT_THAT(mapping->segments(),
                ElementsAre(Phyr(16 * kPage, kPage), bus, Phyr(17 * kPage, kPage)));
    EXPECT_THAT(mapping->translations(),
                ElementsAre(DmaTranslation{16 * kPage, Phyr(kPage, 2 * kPage)}));
    EXPECT_EQ(space->bytes_allocated(), 2 * kPage);
  }
  EXPECT_EQ(space->bytes_allocated(), 0U);
  const auto only_bus = DmaMap(ListOf({bus}), {.iova = space});
  ASSERT_TRUE(only_bus.ok());
  EXPECT_EQ(space->bytes_allocated(), 0U);
}

TEST(DmaMap, AnEntryThatBreaksALimitIsNamedAndNothingIsTaken) {
  const auto space = SpaceOf(4);
  const Phyr good(kPage, kPage);
  struct Case {
    Phyr entry;
    DmaLimits limits;
    absl::StatusCode code;
    const char* says;
  };
  using enum absl::StatusCode;
  for (const Case& test : {
           Case{Phyr(1ULL << 32, kPage), {.mask = 0xffffffff}, kOutOfRange, "last address"},
           Case{Phyr((1ULL << 32) - 1, 2), {.mask = 0xffffffff}, kOutOfRange, "last address"},
           Case{Phyr(1ULL << 32, kPage, kBus),
                {.mask = 0xffffffff, .iova = space},
                kOutOfRange,
                "cannot reach"},
           Case{Phyr(0, kPage, PhyrFlags::kAbsent), {.iova = space}, kFailedPrecondition, "pin it"},
           Case{Phyr(0, kPage, PhyrFlags::kSwapped), {}, kFailedPrecondition, "pin it"},
           Case{Phyr(kPage, 1, PhyrFlags::kUnknownAddress), {}, kFailedPrecondition, "CAP_SYS"},
           Case{Phyr(kPage, 1, PhyrFlags::kOnDemand), {}, kFailedPrecondition, "pin it"},
           Case{Phyr(kPage, 1, PhyrFlags::kZeroPage), {}, kFailedPrecondition, "page of zeros"},
           Case{Phyr(9 * kPage, kPage), {.max_segments = 1}, kOutOfRange, "map less"},
           Case{Phyr(kPage, 5 * kPage),
                {.max_segment = 4 * kPage, .max_segments = 1, .iova = SpaceOf(100)},
                kOutOfRange,
                "map less"},
       }) {
    const absl::Status status = DmaMap(ListOf({good, test.entry}), test.limits).status();
    EXPECT_EQ(status.code(), test.code) << status;
    EXPECT_THAT(status.message(), HasSubstr("entry 1 of the list"));
    EXPECT_THAT(status.message(), HasSubstr(test.says));
    if (test.limits.iova == nullptr) continue;
    EXPECT_EQ(test.limits.iova->bytes_allocated(), 0U);
  }
  EXPECT_TRUE(
      DmaMap(ListOf({Phyr(kPage, 1, PhyrFlags::kZeroPage)}), {.device_writes = false}).ok());
  const absl::Status full = DmaMap(ListOf({Phyr(0, 5 * kPage)}), {.iova = space}).status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(space->bytes_allocated(), 0U);
}

TEST(DmaMap, ASegmentHasTheFlagsThatAllOfItsOwnBytesHave) {
  const PhyrList list =
      ListOf({Phyr(0, kPage, kPinned | PhyrFlags::kWritable), Phyr(kPage, 2 * kPage, kPinned)});
  EXPECT_THAT(DmaMap(list, {.max_segment = kPage})->segments(),
              ElementsAre(Phyr(0, kPage, kPinned | PhyrFlags::kWritable),
                          Phyr(kPage, kPage, kPinned), Phyr(2 * kPage, kPage, kPinned)));
  EXPECT_THAT(DmaMap(list, {.max_segment = 2 * kPage})->segments(),
              ElementsAre(Phyr(0, 2 * kPage, kPinned), Phyr(2 * kPage, kPage, kPinned)));
}

TEST(DmaMap, TheLongestRangesAreTranslatedInSeveral) {
  constexpr std::uint64_t kHalf = (Phyr::kMaxLength + 1) / 2;
  const auto space = IovaSpace::Create({.first = 0, .last = (1ULL << 60) - 1}).value();
  for (const PhyrList& list :
       {ListOf({Phyr(0, Phyr::kMaxLength)}), ListOf({Phyr(100, Phyr::kMaxLength)}),
        ListOf({Phyr(0, kHalf), Phyr(kHalf, kHalf, kPinned)}),
        ListOf({Phyr(8, Phyr::kMaxLength), Phyr(Phyr::kMaxLength + 8, kPage, kPinned)})}) {
    const auto mapping = DmaMap(list, {.iova = space});
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    std::uint64_t iova = 0;
    std::uint64_t address = list[0].address() & ~(kPage - 1);
    for (const DmaTranslation& translation : mapping->translations()) {
      EXPECT_EQ(translation.iova, iova);
      EXPECT_EQ(translation.memory.address(), address);
      EXPECT_EQ(translation.memory.length() % kPage, 0U);
      iova += translation.memory.length();
      address += translation.memory.length();
    }
    EXPECT_EQ(iova, space->bytes_allocated());
    std::uint64_t mapped = 0;
    for (const Phyr& segment : mapping->segments()) mapped += segment.length();
    EXPECT_EQ(mapped, list.length());
  }
  EXPECT_EQ(space->bytes_allocated(), 0U);
}

TEST(DmaMap, ADeviceWithoutOneGranuleOfAddressesIsAnError) {
  const auto status = DmaMap(ListOf({Phyr(kPage, 1)}), {.mask = 1000, .iova = SpaceOf(4)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("smaller granule"));
}

TEST(DmaMap, BadLimitsAreErrors) {
  const PhyrList list = ListOf({Phyr(kPage, kPage)});
  for (const DmaLimits& limits : {DmaLimits{.boundary = 3}, DmaLimits{.merge_granule = 6}}) {
    EXPECT_EQ(DmaMap(list, limits).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(DmaMap(PhyrList()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(DmaMap, AMappingThatIsReplacedIsUnmapped) {
  const auto space = SpaceOf(16);
  DmaMapping mapping = *DmaMap(ListOf({Phyr(kPage, 4 * kPage)}), {.iova = space});
  mapping = *DmaMap(ListOf({Phyr(kPage, kPage)}), {.iova = space});
  EXPECT_EQ(space->bytes_allocated(), kPage);
  DmaMapping moved = std::move(mapping);
  EXPECT_EQ(moved.segments().size(), 1U);
  mapping = DmaMapping();
  EXPECT_EQ(space->bytes_allocated(), kPage);
}

// What the device's address means: by the translations if there are any for it.
std::uint64_t Physical(const DmaMapping& mapping, std::uint64_t address, bool bus) {
  if (bus) return address;
  for (const DmaTranslation& translation : mapping.translations()) {
    const std::uint64_t offset = address - translation.iova;
    if (offset < translation.memory.length()) return translation.memory.address() + offset;
  }
  return mapping.translations().empty() ? address : ~0ULL;
}

// The addresses that the device reaches, in its order.
std::vector<std::uint64_t> ReachedBy(const DmaMapping& mapping) {
  std::vector<std::uint64_t> reached;
  for (const Phyr& segment : mapping.segments()) {
    for (std::uint64_t i = 0; i < segment.length(); ++i) {
      reached.push_back(Physical(mapping, segment.address() + i, segment.Has(kBus)));
    }
  }
  return reached;
}

void ExpectWithin(const DmaMapping& mapping, const DmaLimits& limits) {
  for (const Phyr& segment : mapping.segments()) {
    ASSERT_GT(segment.length(), 0U);
    ASSERT_LE(segment.last(), limits.mask);
    if (limits.max_segment != 0) {
      ASSERT_LE(segment.length(), limits.max_segment);
    }
    if (limits.boundary != 0) {
      ASSERT_EQ(segment.address() / limits.boundary, segment.last() / limits.boundary);
    }
  }
}

std::vector<PhyrFlags> FlagsOf(const DmaMapping& mapping) {
  std::vector<PhyrFlags> flags;
  for (const Phyr& segment : mapping.segments()) flags.push_back(segment.flags());
  return flags;
}

// Of each segment, the flags that all of its bytes have in the list.
std::vector<PhyrFlags> CommonFlags(const DmaMapping& mapping, const PhyrList& list) {
  const std::vector<testing::NaiveByte> bytes = testing::BytesOf(list);
  std::vector<PhyrFlags> common;
  std::size_t at = 0;
  for (const Phyr& segment : mapping.segments()) {
    PhyrFlags flags = ~PhyrFlags::kNone;
    for (std::uint64_t i = 0; i < segment.length(); ++i) flags = flags & bytes[at++].flags;
    common.push_back(flags);
  }
  return common;
}

TEST(DmaMap, TheDeviceReachesTheSameBytesForRandomListsAndLimits) {
  std::mt19937_64 random(5);
  const auto space = SpaceOf(4000, 64);
  std::vector<DmaMapping> kept;
  for (int round = 0; round < 1000; ++round) {
    PhyrList list;
    for (const Phyr& entry : testing::RandomList(random)) {
      if (!entry.Has(kPlaceless)) list.Append(entry);
    }
    if (list.empty()) continue;
    DmaLimits limits;
    limits.mask = 0xfffff;
    if (random() % 2 == 0) limits.boundary = std::uint64_t{1} << (random() % 8 + 1);
    if (random() % 2 == 0) limits.max_segment = 1 + random() % 100;
    const std::uint64_t granules[] = {0, 1, 8, 64, 128};
    limits.merge_granule = granules[random() % 5];
    if (random() % 3 != 0) limits.iova = space;
    auto mapping = DmaMap(list, limits);
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    std::vector<std::uint64_t> expected;
    for (const testing::NaiveByte& byte : testing::BytesOf(list)) expected.push_back(byte.address);
    ASSERT_EQ(ReachedBy(*mapping), expected) << "round " << round;
    ExpectWithin(*mapping, limits);
    ASSERT_EQ(FlagsOf(*mapping), CommonFlags(*mapping, list)) << "round " << round;
    if (kept.size() < 40) {
      kept.push_back(*std::move(mapping));
    } else {
      std::swap(kept[random() % kept.size()], *mapping);
    }
    space->CheckInvariantsForTest();
  }
  kept.clear();
  EXPECT_EQ(space->bytes_allocated(), 0U);
}

}  // namespace
}  // namespace linchpin
