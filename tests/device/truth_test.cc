// The cache stays true: after every change of the address space, the bytes that a device transfers
// are those the application sees.
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "tests/device/changes.h"
#include "tests/device/fixture.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kBytes = 16 * kPage;

class Truth : public DeviceFixture {};

void Write(char* at, const std::string& bytes) {
  std::memcpy(at, bytes.data(), bytes.size());
}

// One change after another, with the region idle when it happens, and with a lease held across it.
class TruthAfter : public Truth,
                   public ::testing::WithParamInterface<std::tuple<std::size_t, bool>> {
 protected:
  // Returns: what happened; Aborted when another thread took the address while nothing was mapped
  // there, and so is no fault of the change.
  absl::Status SendAcross(const Change& change, bool held_across);
};

absl::Status TruthAfter::SendAcross(const Change& change, bool held_across) {
  absl::StatusOr<Arena> arena = change.make(kBytes);
  if (!arena.ok()) return arena.status();
  Write(arena->at, Pattern(1, kBytes));
  Lease held = Get(arena->at, kBytes, kRead);
  const bool kept = change.effect != Effect::kNotKept;
  EXPECT_EQ(held.cached(), kept);
  auto sent = courier_->Carry(arena->at, kBytes, held.lkey());
  if (!sent.ok()) return sent.status();
  EXPECT_EQ(*sent, Pattern(1, kBytes));
  if (!held_across) held = Lease();

  if (absl::Status happened = change.happen(*arena); !happened.ok()) return happened;
  if (change.effect == Effect::kMustBeTold) cache_->Invalidate(arena->at, kBytes);
  Write(arena->at, Pattern(2, kBytes));
  EXPECT_EQ(CarryThroughCache(arena->at, kBytes), Pattern(2, kBytes));
  if (held_across && change.effect == Effect::kEvent) {
    EXPECT_EQ(held.state(), LeaseState::kStale);
  }
  held = Lease();
  change.unmake(*arena);
  return cache_->Drain(absl::Seconds(30));
}

TEST_P(TruthAfter, AChangeTheNewBytesAreSent) {
  const Change& change = AllChanges()[std::get<0>(GetParam())];
  const bool held_across = std::get<1>(GetParam());
  absl::Status done = absl::AbortedError("");
  for (int i = 0; i < 10 && absl::IsAborted(done); ++i) done = SendAcross(change, held_across);
  if (absl::IsUnimplemented(done)) GTEST_SKIP() << done;
  EXPECT_TRUE(done.ok()) << done;
}

std::string NameOf(const ::testing::TestParamInfo<TruthAfter::ParamType>& info) {
  std::string name = std::get<1>(info.param) ? "Held" : "Idle";
  bool upper = true;
  for (const char c : AllChanges()[std::get<0>(info.param)].name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) {
      upper = true;
      continue;
    }
    name += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(Every, TruthAfter,
                         ::testing::Combine(::testing::Range<std::size_t>(0, AllChanges().size()),
                                            ::testing::Bool()),
                         NameOf);

// A thread's part in the storm: one change after another on memory of its own.
struct Storm {
  RegistrationCache& cache;
  Device& device;
  std::chrono::steady_clock::time_point end;
  std::atomic<int> changes = 0;
  std::atomic<int> wrong = 0;
  std::atomic<int> errors = 0;
};

// Sends what is in the arena and compares; false if the bytes were wrong or the transfer failed.
bool SendsWhatIsThere(Storm& storm, Courier& courier, const Arena& arena, std::uint64_t seed,
                      const std::string& when) {
  Write(arena.at, Pattern(seed, arena.size));
  const auto lease = storm.cache.Acquire(arena.at, arena.size, kRead);
  if (!lease.ok()) {
    if (storm.errors++ < 5) ADD_FAILURE() << when << ": " << lease.status();
    return false;
  }
  const auto sent = courier.Carry(arena.at, arena.size, lease->lkey());
  if (!sent.ok() || *sent != Pattern(seed, arena.size)) {
    if (storm.wrong++ < 10) ADD_FAILURE() << when << ": " << sent.status() << " or OLD bytes sent";
    return false;
  }
  return true;
}

void RideTheStorm(Storm& storm, unsigned seed) {
  std::mt19937 random(seed);
  auto courier = Courier::Make(storm.device);
  ASSERT_TRUE(courier.ok()) << courier.status();
  std::uint64_t pattern = seed * 1000000ull;
  while (std::chrono::steady_clock::now() < storm.end) {
    const Change& change = AllChanges()[random() % AllChanges().size()];
    if (!change.thread_safe) continue;
    auto arena = change.make(kBytes);
    if (!arena.ok()) continue;
    bool mine = true;
    for (int round = 0; round < 3 && mine; ++round) {
      SendsWhatIsThere(storm, **courier, *arena, ++pattern, "before " + change.name);
      const absl::Status happened = change.happen(*arena);
      mine = !absl::IsAborted(happened);
      if (!happened.ok()) break;
      if (change.effect == Effect::kMustBeTold) storm.cache.Invalidate(arena->at, arena->size);
      ++storm.changes;
      SendsWhatIsThere(storm, **courier, *arena, ++pattern, "after " + change.name);
    }
    if (mine) change.unmake(*arena);
  }
}

TEST_F(Truth, EightThreadsChangeTheirMappingsAtOnceFor20Seconds) {
  Storm storm{*cache_, *device_, std::chrono::steady_clock::now() + std::chrono::seconds(20)};
  const unsigned seed = std::random_device()();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i) {
    threads.emplace_back([&storm, seed, i] { RideTheStorm(storm, seed + i); });
  }
  for (std::thread& thread : threads) thread.join();
  const CacheStats stats = cache_->stats();
  std::printf("seed %u: %d changes, %lu hits, %lu misses, %lu invalidations, %lu retries\n", seed,
              storm.changes.load(), stats.hits, stats.misses, stats.invalidations, stats.retries);
  EXPECT_EQ(storm.wrong, 0);
  EXPECT_EQ(storm.errors, 0);
  EXPECT_GT(storm.changes, 8);
  EXPECT_TRUE(cache_->Drain(absl::Seconds(30)).ok());
  EXPECT_EQ(cache_->stats().regions, 0u);
}

// One thread discards, rewrites, acquires and sends a page; others acquire and release that page
// and its neighbours, and two contend for the lock of the address space. The kernel tells of the
// discard before it drops the page, so the others may register the old one: nobody else may be
// served by it.
TEST_F(Truth, WhatOneThreadDiscardsIsNotKeptByAnother) {
  const Mapped memory(4 * kPage);
  const Mapped contended(64 * kPage);
  char* const page = memory.data() + kPage;
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      while (!stop) static_cast<void>(cache_->Acquire(memory.data(), 3 * kPage, kRead).ok());
    });
  }
  for (int i = 0; i < 2; ++i) {
    others.emplace_back([&] {
      for (int protection = 0; !stop; protection ^= PROT_READ) {
        mprotect(contended.data(), contended.size(), protection | PROT_WRITE);
      }
    });
  }
  int wrong = 0;
  int rounds = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_EQ(madvise(page, kPage, MADV_DONTNEED), 0);
    const std::string bytes = Pattern(static_cast<std::uint64_t>(++rounds), kPage);
    Write(page, bytes);
    if (CarryThroughCache(page, kPage) != bytes) ++wrong;
  }
  stop = true;
  for (std::thread& other : others) other.join();
  std::printf("%d rounds\n", rounds);
  EXPECT_EQ(wrong, 0);
}

TEST_F(Truth, AnIdleRegionWhoseMemoryIsUnmappedIsDeregisteredWithNoFurtherCall) {
  const std::uint64_t before = PinnedBytes();
  {
    const Mapped memory(kBytes);
    CarryThroughCache(memory.data(), kBytes);
    EXPECT_EQ(cache_->stats().regions, 1u);
    EXPECT_GE(PinnedBytes(), before + kBytes);
  }
  EXPECT_TRUE(WaitFor("deregistered", [&] { return cache_->stats().regions == 0; }));
  EXPECT_TRUE(WaitFor("unpinned", [&] { return PinnedBytes() == before; }));
  EXPECT_EQ(cache_->stats().deregistrations, 1u);
  std::printf("reap lag at most %lu us\n", cache_->stats().reap_lag_us_max);
}

TEST_F(Truth, TwoCachesOnOneMappingBothGetTheEvent) {
  auto other = RegistrationCache::Create(device_->registrar());
  ASSERT_TRUE(other.ok());
  {
    const Mapped memory(kBytes);
    CarryThroughCache(memory.data(), kBytes);
    ASSERT_TRUE((*other)->Acquire(memory.data(), kBytes, kRead).ok());
  }
  EXPECT_TRUE(WaitFor("both deregistered", [&] {
    return cache_->stats().regions == 0 && (*other)->stats().regions == 0;
  }));
}

TEST_F(Truth, OffSendsTheNewBytesToo) {
  Make({.mode = Mode::kOff});
  int changes = 0;
  for (const Change& change : AllChanges()) {
    auto arena = change.make(kBytes);
    if (!arena.ok()) continue;
    Write(arena->at, Pattern(1, kBytes));
    EXPECT_EQ(CarryThroughCache(arena->at, kBytes), Pattern(1, kBytes)) << change.name;
    if (const absl::Status happened = change.happen(*arena); happened.ok()) {
      ++changes;
      Write(arena->at, Pattern(2, kBytes));
      EXPECT_EQ(CarryThroughCache(arena->at, kBytes), Pattern(2, kBytes)) << change.name;
    }
    change.unmake(*arena);
  }
  EXPECT_GT(changes, 15);
}

}  // namespace
}  // namespace linchpin::testing
