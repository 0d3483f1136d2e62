// Overlapping requests: bounded unions.
#include <random>

#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

class Union : public CacheFixture {};

TEST_F(Union, SlidingWindowsPinInProportionToTheMemory) {
  Make();
  const Mapped memory(1 << 20);
  std::vector<Lease> held;
  std::uint64_t most = 0;
  for (std::size_t at = 0; at + (64 << 10) <= memory.size(); at += 4 << 10) {
    held.push_back(Get(memory.data() + at, 64 << 10, kWrite));
    most = std::max(most, registrar_->registered_bytes());
  }
  std::printf("pinned at most %.2f MiB in %d registrations\n",
              static_cast<double>(most) / (1 << 20), registrar_->calls());
  EXPECT_LE(most, 4u << 20);
  for (const Registration& made : registrar_->registered()) {
    EXPECT_TRUE(RangeAt(memory.data(), memory.size()).Contains(made.range));
  }
}

TEST_F(Union, WindowsSlidingDownPinNoMore) {
  Make();
  const Mapped memory(1 << 20);
  std::vector<Lease> held;
  for (std::size_t at = memory.size() - (64 << 10);; at -= 4 << 10) {
    held.push_back(Get(memory.data() + at, 64 << 10, kWrite));
    if (at == 0) break;
  }
  EXPECT_LE(registrar_->registered_bytes(), 4u << 20);
}

TEST_F(Union, WindowsOverMuchMoreMemoryStillPinInProportion) {
  Make();
  const Mapped memory(16 << 20);
  std::vector<Lease> held;
  for (std::size_t at = 0; at + (64 << 10) <= memory.size(); at += 4 << 10) {
    auto lease = cache_->Acquire(memory.data() + at, 64 << 10, kWrite);
    ASSERT_TRUE(lease.ok());
    held.push_back(*std::move(lease));
  }
  EXPECT_LE(registrar_->registered_bytes(), 4 * memory.size());
}

TEST_F(Union, WithoutRoomToGrowAWindowIsRegisteredAlone) {
  Make({.max_idle_bytes = 256 << 10, .max_union_waste = 0});
  const Mapped memory(1 << 20);
  std::vector<Lease> held;
  std::uint64_t windows = 0;
  for (std::size_t at = 0; at + (64 << 10) <= memory.size(); at += 4 << 10) {
    held.push_back(Get(memory.data() + at, 64 << 10, kWrite));
    windows += 64 << 10;
  }
  EXPECT_LE(registrar_->registered_bytes(), windows + 2 * memory.size());
}

TEST_F(Union, SmallStridedRequestsMakeAtMostOneRegistrationAPageAndHitTheSecondTime) {
  Make();
  constexpr std::size_t kRequests = 262144;
  const Mapped memory(kRequests * 8);
  for (std::size_t at = 0; at < kRequests; ++at) {
    ASSERT_TRUE(cache_->Acquire(memory.data() + at * 8, 4, kWrite).ok());
  }
  EXPECT_LE(static_cast<std::size_t>(registrar_->calls()), memory.size() / kPage);
  const auto before = cache_->stats();
  for (std::size_t at = 0; at < kRequests; ++at) {
    ASSERT_TRUE(cache_->Acquire(memory.data() + at * 8, 4, kWrite).ok());
  }
  const auto after = cache_->stats();
  EXPECT_EQ(after.hits - before.hits, kRequests);
  EXPECT_EQ(after.misses, before.misses);
}

TEST_F(Union, ASmallRequestBesideAHugeRegionDoesNotRegisterItAnew) {
  Make();
  const Mapped memory(64 << 20);
  const Lease huge = Get(memory.data(), 32 << 20, kWrite);
  const Lease small = Get(memory.data() + (32 << 20) - kPage, 2 * kPage, kWrite);
  EXPECT_LE(small.registered().size(), 16 * 2 * kPage);
}

TEST_F(Union, AUnionNeverCrossesAMappingBorder) {
  Make();
  const Mapped memory(8 * kPage);
  ASSERT_EQ(mprotect(memory.data() + 4 * kPage, 4 * kPage, PROT_READ), 0);
  const Lease first = Get(memory.data(), 3 * kPage, kWrite);
  const Lease second = Get(memory.data() + 2 * kPage, 2 * kPage, kWrite);
  EXPECT_LE(second.registered().end, memory.start() + 4 * kPage);
  EXPECT_TRUE(second.registered().Contains(first.registered()));
}

TEST_F(Union, ARequestAcrossABorderRegistersJustItsPages) {
  Make();
  const Mapped memory(8 * kPage);
  ASSERT_EQ(mprotect(memory.data() + 4 * kPage, 4 * kPage, PROT_READ), 0);
  const Lease across = Get(memory.data() + 3 * kPage + 7, 2 * kPage, kRead);
  EXPECT_EQ(across.registered(), RangeAt(memory.data() + 3 * kPage, 3 * kPage));
}

TEST_F(Union, ARefusedUnionFallsBackToTheRequestAlone) {
  Make();
  const Mapped memory(16 * kPage);
  const Lease first = Get(memory.data(), 4 * kPage, kWrite);
  registrar_->OnRegister([&](Range range, Access) {
    return range.size() > 4 * kPage ? absl::FailedPreconditionError("EFAULT") : absl::OkStatus();
  });
  const Lease second = Get(memory.data() + 3 * kPage, 4 * kPage, kWrite);
  EXPECT_EQ(second.registered(), RangeAt(memory.data() + 3 * kPage, 4 * kPage));
  EXPECT_EQ(Get(memory.data(), kPage, kWrite).lkey(), first.lkey()) << "unharmed";
}

TEST_F(Union, NeighboursThatShareAPageStillHitWhenTheyJustFit) {
  constexpr std::size_t kBuffers = 32;
  constexpr std::size_t kBytes = 64 << 10;
  const Mapped memory(kBuffers * kBytes + kPage);
  Make({.max_idle_bytes = memory.size() + 16 * kPage});
  for (int round = 0; round < 6; ++round) {
    for (std::size_t i = 0; i < kBuffers; ++i) {
      Get(memory.data() + 16 + i * kBytes, kBytes, kWrite);
    }
  }
  const CacheStats before = cache_->stats();
  for (std::size_t i = 0; i < kBuffers; ++i) Get(memory.data() + 16 + i * kBytes, kBytes, kWrite);
  EXPECT_EQ(cache_->stats().hits - before.hits, kBuffers);
}

// Random windows over one mapping: whatever the order, every lease covers its request with its
// rights, and the invariants of the shelves hold (checked by Get after each step).
TEST_F(Union, RandomOverlapsAreAlwaysCovered) {
  Make();
  const auto seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  const Mapped memory(64 * kPage);
  std::vector<Lease> held;
  for (int step = 0; step < 4000; ++step) {
    const std::size_t start = random() % (memory.size() - 1);
    const std::size_t length = 1 + random() % std::min<std::size_t>(memory.size() - start, 20000);
    const auto access = static_cast<Access>((random() % 2) | ((random() % 2) << 4));
    Lease lease = Get(memory.data() + start, length, access);
    ASSERT_TRUE(lease.registered().Contains(lease.range()));
    for (const Registration& made : registrar_->registered()) {
      if (made.keys[0].lkey != lease.lkey()) continue;
      EXPECT_EQ(made.range, lease.registered());
      EXPECT_EQ(made.access & access, access);
    }
    if (random() % 3 == 0) held.push_back(std::move(lease));
    if (held.size() > 20) held.erase(held.begin() + static_cast<std::ptrdiff_t>(random() % 20));
    if (random() % 50 == 0) monitor_->Changed(RangeAt(memory.data() + start, length));
  }
}

}  // namespace
}  // namespace linchpin::testing
