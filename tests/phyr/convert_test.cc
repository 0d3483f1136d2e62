// Conversions of lists: there and back, flags and all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <infiniband/verbs.h>

#include <cstdint>
#include <limits>
#include <random>

#include "linchpin/phyr_convert.h"
#include "tests/phyr/naive.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kTop = std::numeric_limits<std::uint64_t>::max();

TEST(PhyrConvert, IovecsKeepEverything) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    std::mt19937_64 random(seed);
    const PhyrList list = testing::RandomList(random);
    const FlaggedIovecs iovecs = ToIovecs(list);
    ASSERT_EQ(iovecs.elements.size(), list.size());
    const auto back = FromIovecs(iovecs.elements, iovecs.flags);
    ASSERT_TRUE(back.ok()) << back.status();
    ASSERT_EQ(*back, list) << "seed " << seed;
  }
}

TEST(PhyrConvert, IovecsTakeOneFlagForAllOrNone) {
  char bytes[64];
  const iovec elements[] = {{bytes, 16}, {bytes + 16, 16}, {bytes + 40, 1}, {nullptr, 0}};
  const PhyrFlags pinned[] = {PhyrFlags::kPinned};
  const auto list = FromIovecs(elements, pinned);
  ASSERT_TRUE(list.ok());
  const auto start = reinterpret_cast<std::uintptr_t>(bytes);
  EXPECT_THAT(list->entries(), ::testing::ElementsAre(Phyr(start, 32, PhyrFlags::kPinned),
                                                      Phyr(start + 40, 1, PhyrFlags::kPinned)));
  EXPECT_EQ((*FromIovecs(elements))[0].flags(), PhyrFlags::kNone);
  const PhyrFlags two[] = {PhyrFlags::kPinned, PhyrFlags::kDirty};
  EXPECT_THAT(FromIovecs(elements, two).status().message(), HasSubstr("2 flags for 4"));
}

TEST(PhyrConvert, AnElementThatIsNoRangeIsNamed) {
  char byte = 0;
  const iovec elements[] = {{&byte, 1}, {&byte, kTop}};
  EXPECT_THAT(FromIovecs(elements).status().message(), HasSubstr("element 1"));
  const ibv_sge wraps[] = {{.addr = kTop, .length = 2, .lkey = 0}};
  EXPECT_THAT(FromSges(wraps).status().message(), HasSubstr("element 0"));
}

TEST(PhyrConvert, SgesAreCutAndComeBackWhole) {
  PhyrList list;
  list.Append(Phyr(kPage, (5ULL << 30) + 3, PhyrFlags::kPinned));
  list.Append(Phyr(1ULL << 40, 7, PhyrFlags::kBusAddress));
  const auto sges = ToSges(list, 77);
  ASSERT_TRUE(sges.ok()) << sges.status();
  ASSERT_EQ(sges->elements.size(), 4U);
  EXPECT_EQ(sges->elements[2].length, (1U << 30) + 3);
  EXPECT_EQ(sges->elements[2].addr, kPage + (4ULL << 30));
  for (const ibv_sge& element : sges->elements) EXPECT_EQ(element.lkey, 77U);
  EXPECT_EQ(*FromSges(sges->elements, sges->flags), list);
}

TEST(PhyrConvert, WhatHasNoAddressIsNoSge) {
  PhyrList list;
  list.Append(Phyr(kPage, kPage));
  list.Append(Phyr(0, kPage, PhyrFlags::kSwapped));
  const absl::Status status = ToSges(list, 0).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("entry 1"));
}

// Whole pages but for the beginning and the end.
PhyrList RandomPages(std::mt19937_64& random, std::uint64_t page) {
  constexpr PhyrFlags kSome[] = {PhyrFlags::kPinned, PhyrFlags::kHuge | PhyrFlags::kDirty,
                                 PhyrFlags::kAbsent, PhyrFlags::kSwapped, PhyrFlags::kZeroPage};
  PhyrList list;
  const std::uint64_t entries = 1 + random() % 6;
  for (std::uint64_t i = 0; i < entries; ++i) {
    const PhyrFlags flags = kSome[random() % 5];
    const bool placeless = Any(flags & kPlaceless);
    const bool cuts = i == 0 && (!placeless || entries > 1);
    const std::uint64_t cut = cuts ? random() % page : 0;
    const std::uint64_t short_of = i + 1 == entries ? random() % (page - cut) : 0;
    const std::uint64_t bytes = (1 + random() % 4) * page - cut - short_of;
    list.Append(Phyr(placeless ? 0 : random() % 30 * page + cut, bytes, flags));
    if (i == 0 && placeless) list.Append(Phyr(40 * page, page));  // Or what follows merges.
  }
  return list;
}

TEST(PhyrConvert, PageFramesKeepEverything) {
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    std::mt19937_64 random(seed);
    const std::uint64_t page = seed % 2 == 0 ? kPage : 2 << 20;
    const PhyrList list = RandomPages(random, page);
    const auto frames = ToPageFrames(list, page);
    ASSERT_TRUE(frames.ok()) << frames.status();
    const auto back = FromPageFrames(*frames);
    ASSERT_TRUE(back.ok()) << back.status() << " seed " << seed;
    ASSERT_EQ(*back, list) << "seed " << seed;
  }
}

TEST(PhyrConvert, PageFramesAreNumbersWithFlagsBelow) {
  PhyrList list;
  list.Append(Phyr(5 * kPage + 100, 2 * kPage, PhyrFlags::kDirty));
  const auto frames = ToPageFrames(list);
  ASSERT_TRUE(frames.ok());
  EXPECT_EQ(frames->offset, 100U);
  EXPECT_THAT(frames->words, ::testing::ElementsAre(PageFrames::Word(5, PhyrFlags::kDirty),
                                                    PageFrames::Word(6, PhyrFlags::kDirty),
                                                    PageFrames::Word(7, PhyrFlags::kDirty)));
  EXPECT_EQ(PageFrames::FrameOf(frames->words[2]), 7U);
  EXPECT_EQ(PageFrames::FlagsOf(frames->words[2]), PhyrFlags::kDirty);
  EXPECT_EQ(ToPageFrames(PhyrList())->words.size(), 0U);
}

TEST(PhyrConvert, WhatIsNotWholePagesIsNamed) {
  const auto refusal = [](std::initializer_list<Phyr> entries) {
    PhyrList list;
    for (const Phyr& entry : entries) list.Append(entry);
    return std::string(ToPageFrames(list).status().message());
  };
  EXPECT_THAT(refusal({Phyr(0, 100), Phyr(kPage, kPage)}), HasSubstr("entry 0"));
  EXPECT_THAT(refusal({Phyr(0, kPage), Phyr(3 * kPage + 1, 5)}), HasSubstr("entry 1"));
  EXPECT_THAT(refusal({Phyr(0, 5), Phyr(0, 10, PhyrFlags::kAbsent), Phyr(0, 5)}),
              HasSubstr("entry 0"));
  EXPECT_THAT(refusal({Phyr(kPage, kPage, PhyrFlags::kUnknownAddress)}), HasSubstr("CAP_SYS"));
  EXPECT_EQ(ToPageFrames(PhyrList(), 1000).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PhyrConvert, MorePagesThanThereIsMemoryForAreAnError) {
  PhyrList list;
  list.Append(Phyr(0, std::uint64_t{1} << 47, PhyrFlags::kAbsent));
  EXPECT_THAT(ToPageFrames(list).status().message(), HasSubstr("a slice at a time"));
  EXPECT_TRUE(ToPageFrames(list, std::uint64_t{1} << 30).ok());
}

TEST(PhyrConvert, PageFramesThatDoNotAddUpAreAnError) {
  PageFrames frames{.page_size = kPage, .offset = 10, .length = kPage, .words = {1, 2}};
  EXPECT_TRUE(FromPageFrames(frames).ok());
  frames.words.push_back(3);
  EXPECT_THAT(FromPageFrames(frames).status().message(), HasSubstr("are not 3 pages"));
  frames = {.page_size = kPage, .offset = kPage, .length = 1, .words = {1}};
  EXPECT_FALSE(FromPageFrames(frames).ok());
  frames = {.page_size = kPage, .offset = 1, .length = kTop, .words = {1}};
  EXPECT_FALSE(FromPageFrames(frames).ok());
  frames = {
      .page_size = kPage, .length = 1, .words = {PageFrames::Word(0, PhyrFlags::kUnknownAddress)}};
  EXPECT_THAT(FromPageFrames(frames).status().message(), HasSubstr("no address"));
  frames = {.page_size = 2 << 20, .offset = 0, .length = 1, .words = {kTop}};
  EXPECT_THAT(FromPageFrames(frames).status().message(), HasSubstr("last address"));
}

}  // namespace
}  // namespace linchpin
