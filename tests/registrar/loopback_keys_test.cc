// Tests the loopback device's keys: none is ever given twice, and there are enough of them.
#include <gmock/gmock.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "lib/registrar/loopback/key_table.h"
#include "tests/registrar/loopback_fixture.h"

namespace linchpin {
namespace {

using loopback::HeldRegion;
using loopback::KeyTable;
using loopback::kGenerationMax;
using loopback::kRecordsMax;
using loopback::Region;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;

class LoopbackKeys : public LoopbackTest {};

TEST_F(LoopbackKeys, ASlotRetiresWhenItsGenerationsAreUsedUp) {
  const Mapped memory(kPage);
  const std::uint64_t most = device_->limits().max_regions;
  std::set<std::uint32_t> seen;
  for (std::uint32_t i = 0; i < kGenerationMax + 100; ++i) {
    Registration registration = Register(memory, Access::kLocalRead);
    ASSERT_TRUE(seen.insert(registration.keys[0].lkey).second) << "a key was given twice";
    ASSERT_TRUE(device_->Deregister(registration).ok());
  }
  EXPECT_EQ(device_->limits().max_regions, most - 1);
}

TEST_F(LoopbackKeys, SeventyThousandRegistrationsLiveAtOnce) {
  constexpr std::size_t kCount = 70000;
  constexpr std::size_t kOffsets = 2000;
  ASSERT_GE(device_->limits().max_regions, kCount);
  const Mapped memory(2 * kPage);
  std::memcpy(memory.data() + kPage, "bytes", 6);
  std::vector<Registration> registrations;
  registrations.reserve(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    auto registration = device_->Register(
        {memory.start() + i % kOffsets, memory.start() + 2 * kPage}, testing::kAllRights);
    ASSERT_TRUE(registration.ok()) << i << ": " << registration.status().ToString();
    registrations.push_back(*std::move(registration));
  }
  EXPECT_GE(testing::PinnedBytes() - pinned_at_start_, kCount * kPage);
  for (std::size_t i = 0; i < kCount; i += 997) {
    const Registration& far = registrations[kCount - 1 - i];
    std::memset(memory.data(), 0, kPage);
    ASSERT_EQ(Write(Local(registrations[i], kPage - i % kOffsets, 6),
                    {memory.start() + kPage - 8, far.keys[0].rkey}),
              Completion::kSuccess);
    ASSERT_STREQ(memory.data() + kPage - 8, "bytes");
  }
  for (Registration& registration : registrations) {
    ASSERT_TRUE(device_->Deregister(registration).ok());
  }
  EXPECT_TRUE(
      testing::WaitFor("all unpinned", [&] { return testing::PinnedBytes() == pinned_at_start_; }));
}

TEST(LoopbackKeyTable, AKeyIsAliveBetweenPublishAndKill) {
  KeyTable keys;
  const auto key = keys.Reserve();
  ASSERT_TRUE(key.ok());
  const Range range{kPage, 2 * kPage};
  EXPECT_FALSE(keys.Hold(*key, range, Access::kLocalRead).has_value());
  EXPECT_FALSE(keys.Kill(*key).has_value());
  keys.Publish(*key, {.range = range, .access = Access::kLocalWrite, .slots = {}});
  EXPECT_TRUE(keys.Hold(*key, range, Access::kLocalWrite).has_value());
  EXPECT_FALSE(keys.Hold(*key + 1, range, Access::kLocalRead).has_value());
  EXPECT_FALSE(keys.Hold(~*key, range, Access::kLocalRead).has_value());
  EXPECT_FALSE(keys.Hold(0, range, Access::kLocalRead).has_value());
  EXPECT_EQ(keys.Kill(*key)->range, range);
  EXPECT_FALSE(keys.Hold(*key, range, Access::kLocalRead).has_value());
  EXPECT_FALSE(keys.Kill(*key).has_value());
  keys.Free(*key);
  EXPECT_FALSE(keys.Hold(*key, range, Access::kLocalRead).has_value());
}

TEST(LoopbackKeyTable, AKeyThatNobodySawIsGivenAgain) {
  KeyTable keys;
  const auto first = keys.Reserve();
  ASSERT_TRUE(first.ok());
  keys.Cancel(*first);
  EXPECT_EQ(*keys.Reserve(), *first);
}

TEST(LoopbackKeyTable, KillWaitsForWhoHoldsTheRegion) {
  KeyTable keys;
  const auto key = keys.Reserve();
  ASSERT_TRUE(key.ok());
  const Range range{kPage, 2 * kPage};
  keys.Publish(*key, {.range = range, .access = Access::kLocalRead, .slots = {}});
  std::optional<HeldRegion> held = keys.Hold(*key, range, Access::kLocalRead);
  ASSERT_TRUE(held.has_value());
  std::atomic<bool> killed{false};
  std::thread killer([&] {
    EXPECT_TRUE(keys.Kill(*key).has_value());
    killed = true;
  });
  // It has begun when the key is dead.
  EXPECT_TRUE(testing::WaitFor(
      "the key dead", [&] { return !keys.Hold(*key, range, Access::kLocalRead).has_value(); }));
  EXPECT_FALSE(killed);
  EXPECT_EQ(held->region().range, range);
  held.reset();
  killer.join();
  EXPECT_TRUE(killed);
}

TEST(LoopbackKeyTable, WhenAllKeysAreAliveTheNextIsResourceExhausted) {
  KeyTable keys;
  for (std::uint32_t i = 0; i < kRecordsMax; ++i) ASSERT_TRUE(keys.Reserve().ok());
  EXPECT_EQ(keys.capacity(), kRecordsMax);
  const absl::Status status = keys.Reserve().status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(status.ToString(), ::testing::HasSubstr("deregister some"));
}

TEST(LoopbackRegion, PiecesCoverTheRangeAndEndAtTheirBorders) {
  constexpr std::uintptr_t kPiece = Region::kPieceBytes;
  const auto pieces = [](Range range) {
    std::vector<std::pair<std::uintptr_t, std::uintptr_t>> all;
    for (std::size_t i = 0; i < Region::PieceCount(range); ++i) {
      const Range piece = Region::Piece(range, i);
      all.emplace_back(piece.start, piece.end);
    }
    return all;
  };
  using ::testing::ElementsAre;
  using ::testing::Pair;
  EXPECT_THAT(pieces({kPiece, kPiece + 1}), ElementsAre(Pair(kPiece, kPiece + 1)));
  EXPECT_THAT(pieces({kPiece, 2 * kPiece}), ElementsAre(Pair(kPiece, 2 * kPiece)));
  EXPECT_THAT(pieces({kPiece - 1, 2 * kPiece + 1}),
              ElementsAre(Pair(kPiece - 1, kPiece), Pair(kPiece, 2 * kPiece),
                          Pair(2 * kPiece, 2 * kPiece + 1)));
}

}  // namespace
}  // namespace linchpin
