// Threads that come and go: each has a column of counts in the cache while it lives, and leaves
// what is in it to the next.
#include <atomic>
#include <cstdio>
#include <latch>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/mutex.h"
#include "lib/base/thread_slot.h"
#include "tests/cache/fixture.h"
#include "tests/testing/keepsakes.h"
#include "tests/testing/process.h"

namespace linchpin::testing {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

struct Footprint {
  std::uint64_t mapped = 0;
  std::uint64_t resident = 0;
};

Footprint ReadFootprint() {
  return {StatusBytes("VmSize"), StatusBytes("VmRSS")};
}

void Print(const char* when, const Footprint& footprint) {
  std::printf("%-10s slots below %4d, %6llu MiB mapped, %4llu MiB resident\n", when,
              ThreadSlot::Bound(), static_cast<unsigned long long>(footprint.mapped / kMiB),
              static_cast<unsigned long long>(footprint.resident / kMiB));
}

class Threads : public CacheFixture {
 protected:
  static constexpr std::size_t kPages = 16;

  Lease Hit(std::size_t page) {
    auto lease = cache_->Acquire(memory_.data() + page % kPages * kPage, kPage, kWrite);
    if (!lease.ok()) ++failures_;
    return lease.ok() ? *std::move(lease) : Lease();
  }

  // Makes the regions, one a page.
  void Register() {
    for (std::size_t page = 0; page < kPages; ++page) Hit(page);
  }

  // So many threads, a few at once, each of which hits and ends: nothing grows.
  void ComeAndGo(std::size_t threads);

  // Everything has been given back, and counted so.
  void ExpectExactlyNothing(std::uint64_t hits) {
    EXPECT_EQ(failures_, 0);
    const CacheStats stats = cache_->stats();
    EXPECT_EQ(stats.leases, 0u);
    EXPECT_EQ(stats.held_bytes, 0u);
    EXPECT_EQ(stats.hits, hits);
    EXPECT_EQ(stats.idle_bytes, stats.bytes - stats.deferred_bytes);
    cache_->CheckInvariantsForTest();
    const absl::Status drained = cache_->Drain(absl::Seconds(30));
    EXPECT_TRUE(drained.ok()) << drained;
    EXPECT_EQ(cache_->stats().regions, 0u);
    EXPECT_EQ(registrar_->registered_count(), 0u);
  }

  const Mapped memory_{kPages * kPage};
  std::atomic<int> failures_ = 0;
};

void Threads::ComeAndGo(std::size_t count) {
  constexpr std::size_t kAtOnce = 16;
  Make();
  Register();
  std::uint64_t hits = 0;
  const auto batch = [this, &hits](std::size_t size, bool all_at_once) {
    std::latch acquired(static_cast<std::ptrdiff_t>(size));
    std::vector<std::thread> threads;
    threads.reserve(size);
    for (std::size_t i = 0; i < size; ++i) {
      threads.emplace_back([this, i, all_at_once, &acquired] {
        Hit(i);
        const Lease lease = Hit(i + 1);
        if (all_at_once) acquired.arrive_and_wait();
      });
    }
    for (std::thread& thread : threads) thread.join();
    hits += 2 * size;
  };
  batch(2 * kAtOnce, true);  // Columns, stacks, and arenas that the C library keeps.
  const int bound = ThreadSlot::Bound();
  const Footprint before = ReadFootprint();
  Print("before", before);
  for (std::size_t done = 0; done < count; done += kAtOnce) batch(kAtOnce, false);
  const Footprint after = ReadFootprint();
  Print("after", after);
  EXPECT_EQ(ThreadSlot::Bound(), bound);
  if (!kSanitized) {
    // A column not used again would be at least a page, in 64 MiB of address space.
    EXPECT_LE(after.mapped, before.mapped + 512 * kMiB);
    EXPECT_LE(after.resident, before.resident + 32 * kMiB);
  }
  ExpectExactlyNothing(hits);
}

TEST_F(Threads, AThousandHoldALeaseEachAtOnce) {
  constexpr std::size_t kThreads = 1024;
  Make();
  Register();
  const Footprint before = ReadFootprint();
  std::latch acquired(kThreads);
  std::latch seen(1);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([this, i, &acquired, &seen] {
      Hit(i);  // Under the mutex, the first time.
      const Lease lease = Hit(i);
      acquired.count_down();
      seen.wait();
    });
  }
  acquired.wait();
  const CacheStats stats = cache_->stats();
  EXPECT_EQ(stats.leases, kThreads);
  EXPECT_EQ(stats.held_bytes, kPages * kPage);
  EXPECT_EQ(stats.idle_bytes, 0u);
  EXPECT_EQ(cache_->Trim(0), 0u);
  EXPECT_EQ(registrar_->registered_count(), kPages) << "none may go while it is held";
  EXPECT_GT(ThreadSlot::Bound(), static_cast<int>(kThreads));
  Print("before", before);
  Print("1024", ReadFootprint());
  seen.count_down();
  for (std::thread& thread : threads) thread.join();
  ExpectExactlyNothing(2 * kThreads);
}

TEST_F(Threads, ThousandsThatComeAndGoLeaveNothing) {
  ComeAndGo(10000);
}

TEST_F(Threads, AHundredThousandThatComeAndGoLeaveNothing) {
  ComeAndGo(kSanitized ? 20000 : 100000);
}

TEST_F(Threads, LeasesAreGivenBackByOtherThreads) {
  constexpr std::size_t kThreads = 8;
  constexpr std::size_t kEach = 200;
  Make();
  Register();
  std::vector<std::vector<Lease>> held(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (std::size_t lease = 0; lease < kEach; ++lease) held[i].push_back(Hit(i + lease));
    });
  }
  for (std::thread& thread : threads) thread.join();
  threads.clear();
  EXPECT_EQ(cache_->stats().leases, kThreads * kEach);
  for (std::size_t i = 0; i < kThreads; ++i) {  // New threads, each with another one's leases.
    threads.emplace_back([&, i] {
      Hit(i);
      held[(i + 1) % kThreads].clear();
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectExactlyNothing(kThreads * kEach + kThreads);
}

TEST_F(Threads, LeasesAreGivenBackAsTheirThreadEnds) {
  constexpr std::size_t kThreads = 8;
  constexpr std::size_t kRounds = 20;
  Keepsakes keepsakes;
  Make();
  Register();
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([this, i, &keepsakes] {
        Hit(i);
        keepsakes.KeepWhileSlotIsThere(Hit(i));
        keepsakes.KeepUntilSlotIsGone(Hit(i + 1));
      });
    }
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(cache_->stats().leases, 0u);
  }
  EXPECT_EQ(keepsakes.returned_with_slot(), kThreads * kRounds);
  EXPECT_EQ(keepsakes.returned_without_slot(), kThreads * kRounds);
  ExpectExactlyNothing(3 * kThreads * kRounds);
}

// A Drain that is not woken fails after its 30 s.
TEST_F(Threads, LeasesAreGivenBackAsTheirThreadEndsWhileTheCacheDrains) {
  constexpr std::size_t kThreads = 8;
  constexpr std::size_t kRounds = 50;
  Keepsakes keepsakes;
  Make();
  for (std::size_t round = 0; round < kRounds; ++round) {
    Register();
    std::latch acquired(kThreads);
    std::atomic<bool> end = false;
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([this, i, round, &keepsakes, &acquired, &end] {
        Hit(i);
        for (const std::size_t page : {i, i + 1}) {
          if (i % 2 == 0) {
            keepsakes.KeepWhileSlotIsThere(Hit(page));
          } else {
            keepsakes.KeepUntilSlotIsGone(Hit(page));
          }
        }
        acquired.count_down();
        while (!end && (i + round) % 4 != 0) std::this_thread::yield();
      });
    }
    acquired.wait();
    std::thread ender([&] {
      if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
      end = true;
    });
    const absl::Status drained = cache_->Drain(absl::Seconds(30));
    ASSERT_TRUE(drained.ok()) << drained;
    ender.join();
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(registrar_->registered_count(), 0u);
  }
  EXPECT_EQ(keepsakes.returned_with_slot(), kThreads * kRounds);
  EXPECT_EQ(keepsakes.returned_without_slot(), kThreads * kRounds);
  ExpectExactlyNothing(3 * kThreads * kRounds);
}

// As above, and then the next life: a cache that is made while the columns' owners are gone.
TEST_F(Threads, LeasesOutliveTheirThreads) {
  Make();
  Register();
  Mutex mutex;
  std::vector<Lease> kept;
  for (std::size_t i = 0; i < 100; ++i) {
    std::thread([&] {
      Hit(i);
      Lease lease = Hit(i);
      const MutexLock lock(mutex);
      kept.push_back(std::move(lease));
    }).join();
  }
  EXPECT_EQ(cache_->stats().leases, 100u);
  EXPECT_EQ(cache_->stats().held_bytes, kPages * kPage);
  kept.erase(kept.begin(), kept.begin() + 50);
  EXPECT_EQ(cache_->stats().leases, 50u);
  kept.clear();
  ExpectExactlyNothing(200);
}

}  // namespace
}  // namespace linchpin::testing
