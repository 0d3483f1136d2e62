// What a reserved array costs, what it reads as, and what happens where it cannot be had.
#include "lib/base/sparse_map.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/testing/child.h"
#include "tests/testing/memory.h"
#include "tests/testing/process.h"

namespace linchpin {
namespace {

using testing::Complaint;
using ::testing::HasSubstr;
using testing::kPage;
using testing::kSanitized;
using testing::RunInChild;
using testing::SetLimit;
using testing::StatusBytes;

constexpr std::size_t kMiB = std::size_t{1} << 20;

bool IsZero(const SparseMap& map, std::size_t bytes) {
  return std::all_of(map.data(), map.data() + bytes,
                     [](std::byte byte) { return byte == std::byte{0}; });
}

SparseMap Reserve(std::size_t bytes) {
  absl::StatusOr<SparseMap> map = SparseMap::Reserve(bytes);
  EXPECT_TRUE(map.ok()) << map.status();
  return map.ok() ? *std::move(map) : SparseMap();
}

TEST(SparseMap, IsZeroedWhenOpenedAndWhenCleared) {
  SparseMap map = Reserve(kMiB);
  ASSERT_TRUE(map.Open(1));
  const std::size_t open = map.open_bytes();
  ASSERT_GE(open, 1u);
  EXPECT_TRUE(IsZero(map, open));
  std::fill(map.data(), map.data() + open, std::byte{0xa5});
  ASSERT_TRUE(map.Open(open + 1));
  EXPECT_EQ(map.data()[open - 1], std::byte{0xa5}) << "opening more changes nothing";
  EXPECT_EQ(map.data()[open], std::byte{0});
  map.Clear();
  EXPECT_TRUE(IsZero(map, map.open_bytes()));
}

TEST(SparseMap, StaysWhereItIsAsItOpens) {
  SparseMap map = Reserve(8 * kMiB);
  const std::byte* const at = map.data();
  std::size_t opened = 0;
  while (map.open_bytes() < map.bytes()) {
    ASSERT_TRUE(map.Open(map.open_bytes() + 1));
    ++opened;
    EXPECT_EQ(map.data(), at);
  }
  EXPECT_LE(opened, 16u) << "growing is seldom";
  EXPECT_TRUE(map.Open(map.bytes())) << "what is open already";
  EXPECT_FALSE(map.Open(map.bytes() + 1)) << "more than was reserved";
  EXPECT_EQ(map.open_bytes(), map.bytes());
}

TEST(SparseMap, MovesWithItsMemory) {
  SparseMap first = Reserve(kMiB);
  ASSERT_TRUE(first.Open(1));
  first.data()[0] = std::byte{7};
  SparseMap second = std::move(first);
  SparseMap third;
  third = std::move(second);
  EXPECT_EQ(third.data()[0], std::byte{7});
  EXPECT_EQ(third.bytes(), kMiB);
}

TEST(SparseMapDeathTest, MayNotBeReadWhereItIsNotOpen) {
  SparseMap map = Reserve(kMiB);
  ASSERT_TRUE(map.Open(1));
  ASSERT_LT(map.open_bytes(), map.bytes());
  EXPECT_DEATH(std::printf("%d", static_cast<int>(map.data()[map.open_bytes()])), "");
}

TEST(SparseMap, CostsMemoryOnlyForWhatIsTouched) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's shadow counts too";
  constexpr std::size_t kBytes = 256 * kMiB;
  SparseMap map = Reserve(kBytes);
  ASSERT_TRUE(map.Open(kBytes));
  const std::uint64_t before = StatusBytes("VmRSS");
  map.data()[kBytes / 2] = std::byte{1};
  const std::uint64_t one_page = StatusBytes("VmRSS");
  std::fill(map.data(), map.data() + 32 * kMiB, std::byte{1});
  const std::uint64_t touched = StatusBytes("VmRSS");
  map.Clear();
  const std::uint64_t cleared = StatusBytes("VmRSS");
  std::printf("resident: %llu KiB, with one page %llu, with 32 MiB %llu, cleared %llu\n",
              static_cast<unsigned long long>(before >> 10),
              static_cast<unsigned long long>(one_page >> 10),
              static_cast<unsigned long long>(touched >> 10),
              static_cast<unsigned long long>(cleared >> 10));
  EXPECT_LT(before, kBytes / 4);
  EXPECT_LT(one_page, before + 8 * kMiB) << "a huge page and some";
  EXPECT_GT(touched, before + 24 * kMiB);
  EXPECT_LT(cleared, before + 8 * kMiB);
}

TEST(SparseMap, ThatCannotBeReservedIsAStatusWithTheRemedy) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the address space";
  const Complaint said = RunInChild([] {
    SetLimit(RLIMIT_AS, StatusBytes("VmSize") + 64 * kMiB);
    return SparseMap::Reserve(1024 * kMiB).status().ToString();
  });
  EXPECT_THAT(said, HasSubstr("RESOURCE_EXHAUSTED: cannot reserve 1073741824 bytes"));
  EXPECT_THAT(said, HasSubstr("ENOMEM"));
  EXPECT_THAT(said, HasSubstr("RLIMIT_AS"));
}

TEST(SparseMap, ReservesNextToNothingUnderMlockallOfTheFuture) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer's shadow would be locked too";
  const Complaint said = RunInChild([]() -> Complaint {
    // Without CAP_IPC_LOCK, what is not resident counts against the limit too.
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (geteuid() != 0 && limit.rlim_cur < 512 * kMiB) return "skip: RLIMIT_MEMLOCK is small";
    if (mlockall(MCL_FUTURE) != 0) return "skip: mlockall is refused";
    const std::uint64_t resident = StatusBytes("VmRSS");
    const std::uint64_t locked = StatusBytes("VmLck");
    absl::StatusOr<SparseMap> map = SparseMap::Reserve(256 * kMiB);
    if (!map.ok()) return map.status().ToString();
    const std::uint64_t more_resident = StatusBytes("VmRSS") - resident;
    const std::uint64_t more_locked = StatusBytes("VmLck") - locked;
    if (!map->Open(kMiB)) return "not opened";
    map->data()[kMiB - 1] = std::byte{1};
    const std::uint64_t opened = StatusBytes("VmRSS") - resident;
    std::printf("256 MiB reserved: %llu KiB resident, %llu KiB locked; 1 MiB open: %llu KiB\n",
                static_cast<unsigned long long>(more_resident >> 10),
                static_cast<unsigned long long>(more_locked >> 10),
                static_cast<unsigned long long>(opened >> 10));
    static_cast<void>(std::fflush(stdout));
    if (more_resident > 4 * kMiB) return "the reservation is resident";
    if (more_locked > 4 * kMiB) return "the reservation is locked";
    return opened > 8 * kMiB ? "what is not open became resident" : "";
  });
  if (said.starts_with("skip: ")) GTEST_SKIP() << said;
  EXPECT_EQ(said, "");
}

}  // namespace
}  // namespace linchpin
