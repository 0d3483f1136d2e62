// Which acquires take the hit path, and that what they count is what there is.
#include <malloc.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cache/fixture.h"
#include "tests/testing/child.h"
#include "tests/testing/process.h"

namespace linchpin::testing {
namespace {

class HitPath : public CacheFixture {
 protected:
  // How many of `times` acquires (and releases) went under the mutex.
  int UnderTheMutex(int times, const void* address, std::size_t length, Access access) {
    const CacheStats before = cache_->stats();
    for (int i = 0; i < times; ++i) {
      const auto lease = cache_->Acquire(address, length, access);
      EXPECT_TRUE(lease.ok()) << lease.status();
    }
    const CacheStats after = cache_->stats();
    return static_cast<int>(after.locked_hits + after.misses - before.locked_hits - before.misses);
  }

  std::uint32_t KeyOf(const void* address, std::size_t length, Access access) {
    const auto lease = cache_->Acquire(address, length, access);
    EXPECT_TRUE(lease.ok()) << lease.status();
    return lease.ok() ? lease->lkey() : 0;
  }

  const Mapped memory_{8 * kPage};
};

TEST_F(HitPath, ServesWhatTheRegionContains) {
  Make();
  const char* const at = memory_.data();
  const std::uint32_t lkey = KeyOf(at, 3 * kPage, kWrite);
  EXPECT_EQ(UnderTheMutex(100, at, 3 * kPage, kWrite), 0);
  EXPECT_EQ(UnderTheMutex(100, at, 1, kWrite), 0);
  EXPECT_EQ(UnderTheMutex(100, at + 3 * kPage - 1, 1, kWrite), 0);
  EXPECT_EQ(UnderTheMutex(100, at + kPage - 1, kPage + 2, kRead), 0);
  EXPECT_EQ(KeyOf(at + kPage, 8, kRead), lkey);
  EXPECT_EQ(cache_->stats().hits, 401u);
  EXPECT_EQ(cache_->stats().misses, 1u);
}

TEST_F(HitPath, ServesNothingElse) {
  Make();
  const char* const at = memory_.data() + kPage;
  const Lease lease = Get(at, kPage, kRead);
  EXPECT_FALSE(cache_->Acquire(at, 0, kRead).ok());
  EXPECT_FALSE(cache_->Acquire(at, SIZE_MAX, kRead).ok());
  EXPECT_FALSE(cache_->Acquire(nullptr, 8, kRead).ok());
  EXPECT_NE(KeyOf(at, kPage, kWrite), lease.lkey()) << "more rights";
  EXPECT_NE(KeyOf(at - 1, 2, kRead), lease.lkey()) << "it begins before";
  const Lease beyond = Get(at + kPage - 1, 2, kRead);
  EXPECT_TRUE(beyond.registered().Contains(beyond.range())) << "it ends after";
  EXPECT_EQ(cache_->stats().leases, 2u);
}

TEST_F(HitPath, ServesNoAddressThatSharesAHint) {
  Make();
  const std::uint32_t lkey = KeyOf(memory_.data(), kPage, kWrite);
  const auto* const above =
      reinterpret_cast<const void*>(memory_.start() + (std::uintptr_t{1} << 48));
  EXPECT_NE(KeyOf(above, kPage, kWrite), lkey);
  EXPECT_EQ(cache_->stats().hits, 0u);
}

TEST_F(HitPath, ServesNoRegionOfAnotherKindAtTheSameAddress) {
  Make();
  constexpr Access kRelaxed = kWrite | Access::kRelaxedOrdering;
  const Lease ordered = Get(memory_.data(), kPage, kWrite);
  const Lease relaxed = Get(memory_.data(), kPage, kRelaxed);
  EXPECT_NE(ordered.lkey(), relaxed.lkey());
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(KeyOf(memory_.data(), 8, kWrite), ordered.lkey());
    EXPECT_EQ(KeyOf(memory_.data(), 8, kRelaxed), relaxed.lkey());
  }
}

TEST_F(HitPath, LeavesRemoteRightsToTheMutex) {
  Make();
  const Lease lease = Get(memory_.data(), kPage, kRemote);
  EXPECT_EQ(UnderTheMutex(10, memory_.data(), kPage, kRemote), 10);
  EXPECT_EQ(KeyOf(memory_.data(), kPage, kRemote), lease.lkey());
  EXPECT_EQ(cache_->stats().leases, 1u);
}

// A cache that took all addresses would have none left for what its threads count, nor the program
// for its memory.
TEST_F(HitPath, TakesASmallPartOfTheAddressesThatALimitLeaves) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer needs the address space";
  constexpr std::uint64_t kMiB = 1 << 20;
  const Complaint said = RunInChild([&]() -> Complaint {
    SetLimit(RLIMIT_AS, StatusBytes("VmSize") + 400 * kMiB);
    Make({.monitor = std::make_shared<ManualMonitor>()});  // The parent's says nothing here.
    const int locked = UnderTheMutex(100, memory_.data(), kPage, kWrite);
    if (locked > 2) return std::to_string(locked) + " of 100 under the mutex";
    // Besides 128 MiB that malloc reserves for the reaper's thread.
    const void* const memory =
        mmap(nullptr, 180 * kMiB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? "no addresses are left" : "";
  });
  EXPECT_EQ(said, "");
}

TEST_F(HitPath, LeavesTheFirstAcquireOfAThreadToTheMutex) {
  Make();
  Get(memory_.data(), kPage, kWrite);
  for (int i = 0; i < 3; ++i) {  // Also of one that has another's column.
    std::thread([&] {
      EXPECT_EQ(UnderTheMutex(1, memory_.data(), kPage, kWrite), 1);
      EXPECT_EQ(UnderTheMutex(100, memory_.data(), kPage, kWrite), 0);
    }).join();
  }
}

TEST_F(HitPath, LeavesAllToTheMutexWhereHeldBytesAreLimited) {
  Make({.max_held_bytes = 4 * kPage});
  Get(memory_.data(), kPage, kWrite);
  EXPECT_EQ(UnderTheMutex(10, memory_.data(), kPage, kWrite), 10);
}

TEST_F(HitPath, IsOpenAgainAfterTheCacheHasCounted) {
  Make();
  const Lease lease = Get(memory_.data(), kPage, kWrite);
  cache_->Trim(0);
  EXPECT_EQ(UnderTheMutex(10, memory_.data(), kPage, kWrite), 0);
  EXPECT_FALSE(cache_->Drain(absl::ZeroDuration()).ok());
  EXPECT_EQ(UnderTheMutex(10, memory_.data(), kPage, kWrite), 0);
  EXPECT_FALSE(cache_->Close(absl::ZeroDuration()).ok());
  EXPECT_EQ(UnderTheMutex(10, memory_.data(), kPage, kWrite), 0);
}

TEST_F(HitPath, IsOpenAgainWhenThePressureIsGone) {
  Make({.max_idle_bytes = 4 * kPage});
  for (std::size_t page = 0; page < 8; ++page) Get(memory_.data() + page * kPage, kPage, kWrite);
  EXPECT_GT(cache_->stats().evictions, 0u);
  const Lease lease = Get(memory_.data() + 7 * kPage, kPage, kWrite);
  cache_->Trim(2 * kPage);
  EXPECT_TRUE(WaitFor("hits without the mutex", [&] {
    return UnderTheMutex(1, memory_.data() + 7 * kPage, kPage, kWrite) == 0;
  }));
}

TEST_F(HitPath, NeverServesWhatChanged) {
  Make();
  std::uint32_t lkey = KeyOf(memory_.data(), kPage, kWrite);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(KeyOf(memory_.data(), kPage, kWrite), lkey);
    monitor_->Changed(RangeAt(memory_.data(), kPage));
    const std::uint32_t now = KeyOf(memory_.data(), kPage, kWrite);
    EXPECT_NE(now, lkey);
    lkey = now;
  }
}

// Ids are used again, for other ranges, and hints of before still name them.
TEST_F(HitPath, ServesByTheRecordAndNotByTheHint) {
  Make();
  for (std::size_t i = 0; i < 100; ++i) {
    const char* const at = memory_.data() + i % 7 * kPage;
    const Lease lease = Get(at, kPage + i % 2, kWrite);
    EXPECT_TRUE(lease.registered().Contains(lease.range()));
    EXPECT_TRUE(registrar_->IsAlive(lease.lkey()));
    monitor_->Changed(RangeAt(memory_.data(), 8 * kPage));
    static_cast<void>(cache_->Fence(memory_.data(), 8 * kPage, absl::ZeroDuration()).ok());
  }
}

TEST_F(HitPath, TheLastReleaseOfWhatChangedDeregistersIt) {
  Make();
  KeyOf(memory_.data(), kPage, kWrite);
  std::vector<Lease> leases;
  for (int i = 0; i < 3; ++i) leases.push_back(Get(memory_.data(), kPage, kWrite));
  monitor_->Changed(RangeAt(memory_.data(), kPage));
  EXPECT_EQ(cache_->stats().stale_regions, 1u);
  std::thread([&] { leases.pop_back(); }).join();
  leases.pop_back();
  EXPECT_EQ(cache_->stats().stale_regions, 1u);
  EXPECT_EQ(registrar_->registered_count(), 1u);
  leases.pop_back();
  EXPECT_TRUE(WaitFor("deregistered", [&] { return registrar_->registered_count() == 0; }));
}

// The same where nobody asks the cache anything: the reaper finds out by itself.
TEST_F(HitPath, WhatChangedWhileItWasIdleIsDeregistered) {
  Make();
  for (int i = 0; i < 3; ++i) KeyOf(memory_.data(), kPage, kWrite);
  monitor_->Changed(RangeAt(memory_.data(), kPage));
  EXPECT_TRUE(WaitFor("deregistered", [&] { return registrar_->registered_count() == 0; }));
}

TEST_F(HitPath, StatsCountWhatItCounts) {
  Make();
  KeyOf(memory_.data(), 2 * kPage, kWrite);
  std::vector<Lease> leases;
  for (std::uint64_t i = 1; i <= 10; ++i) {
    leases.push_back(std::move(cache_->Acquire(memory_.data(), 8, kWrite)).value());
    const CacheStats stats = cache_->stats();
    EXPECT_EQ(stats.leases, i);
    EXPECT_EQ(stats.hits, i);
    EXPECT_EQ(stats.held_bytes, 2 * kPage);
    EXPECT_EQ(stats.idle_bytes, 0u);
  }
  leases.clear();
  const CacheStats stats = cache_->stats();
  EXPECT_EQ(stats.leases, 0u);
  EXPECT_EQ(stats.held_bytes, 0u);
  EXPECT_EQ(stats.idle_bytes, 2 * kPage);
}

// More is kept than may be idle, so that all goes under the mutex; then less, and nobody dies of
// it.
class Pressure : public HitPath {
 protected:
  void SetUp() override {
    Make({.max_idle_bytes = 4 * kPage});
    Get(memory_.data(), 3 * kPage, kWrite);
  }

  bool IsOpen() {
    return WaitFor("hits without the mutex",
                   [&] { return UnderTheMutex(100, memory_.data(), kPage, kWrite) == 0; });
  }

  // In these the reaper finds nothing that it could do, and goes to sleep.
  static constexpr std::chrono::milliseconds kLong{60};
  const Mapped other_{2 * kPage};
};

TEST_F(Pressure, EndsWhenWhatIsHeldChanges) {
  const Lease held = Get(other_.data(), 2 * kPage, kWrite);
  std::this_thread::sleep_for(kLong);
  EXPECT_EQ(UnderTheMutex(10, memory_.data(), kPage, kWrite), 10);
  monitor_->Changed(RangeAt(other_.data(), kPage));
  EXPECT_TRUE(IsOpen());
}

TEST_F(Pressure, EndsWhenARegistrationFails) {
  const Lease held = Get(memory_.data(), kPage, kWrite);
  registrar_->OnRegister([&](Range, Access) {
    std::this_thread::sleep_for(kLong);
    return absl::FailedPreconditionError("no");
  });
  EXPECT_FALSE(cache_->Acquire(other_.data(), 2 * kPage, kWrite).ok());
  EXPECT_TRUE(IsOpen());
}

class Growth : public CacheFixture {
 protected:
  // Makes so many regions while another thread hits one: that it does, all the while.
  void Grow(std::size_t regions);

  // Hits until told to stop. What it got that was no hit is in `others`.
  struct Hitter {
    std::atomic<bool> stop = false;
    std::uint64_t hits = 0;
    std::uint64_t others = 0;
  };
  void Hit(const Mapped& hot, std::uint32_t lkey, Hitter& hitter) {
    for (; !hitter.stop; ++hitter.hits) {
      const auto lease = cache_->Acquire(hot.data(), kPage, kWrite);
      if (!lease.ok() || lease->lkey() != lkey) ++hitter.others;
    }
  }

  // Returns: how many of the pages at every `step`-th stride could be acquired.
  std::size_t AcquireEach(const Mapped& memory, std::size_t step) {
    std::size_t acquired = 0;
    for (std::size_t at = 0; at < memory.size(); at += step * kStride) {
      if (cache_->Acquire(memory.data() + at, kPage, kWrite).ok()) ++acquired;
    }
    return acquired;
  }

  static constexpr std::size_t kStride = 2 * kPage;
};

void Growth::Grow(std::size_t regions) {
  Make({.max_idle_bytes = std::uint64_t{4} << 30});
  const Mapped memory(regions * kStride);  // Never touched.
  const Mapped hot(kPage);
  const std::uint32_t lkey = Get(hot.data(), kPage, kWrite).lkey();
  const std::uint64_t before = StatusBytes("VmRSS") / 1024;
  Hitter hitter;
  std::thread thread([&] { Hit(hot, lkey, hitter); });
  EXPECT_EQ(AcquireEach(memory, 1), regions);
  EXPECT_EQ(cache_->stats().regions, regions + 1);
  const std::size_t again = AcquireEach(memory, 97);
  hitter.stop = true;
  thread.join();
  const std::uint64_t full = StatusBytes("VmRSS") / 1024;
  EXPECT_EQ(hitter.others, 0u) << "of " << hitter.hits << " hits";
  const CacheStats stats = cache_->stats();
  EXPECT_EQ(stats.misses, regions + 1);
  EXPECT_EQ(stats.hits, hitter.hits + again);
  EXPECT_EQ(stats.leases, 0u);
  EXPECT_EQ(cache_->Trim(0), 0u);
  EXPECT_EQ(registrar_->registered_count(), 0u);
  malloc_trim(0);  // What the registrar of this test kept, mostly.
  std::printf("%zu regions, %llu hits meanwhile; resident %llu KiB, then %llu, trimmed %llu\n",
              regions, static_cast<unsigned long long>(hitter.hits),
              static_cast<unsigned long long>(before), static_cast<unsigned long long>(full),
              static_cast<unsigned long long>(StatusBytes("VmRSS") / 1024));
  EXPECT_TRUE(cache_->Acquire(hot.data(), kPage, kWrite).ok()) << "and it works on";
}

TEST_F(Growth, HitsStayHitsWhileTheCacheGrows) {
  Grow(20000);
}

TEST_F(Growth, HitsStayHitsWhileTheCacheGrowsTo300000Regions) {
  Grow(300000);
}

}  // namespace
}  // namespace linchpin::testing
