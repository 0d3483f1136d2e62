// How old a hit may be: what each freshness sees of an unmapping that the monitor has not told yet,
// and how often a thread looks.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>
#include <utility>

#include "lib/base/ticks.h"
#include "lib/monitor/reuse_time.h"
#include "linchpin/loopback.h"
#include "tests/cache/delayed_monitor.h"
#include "tests/cache/fixture.h"
#include "tests/cache/reuse_window.h"

namespace linchpin::testing {
namespace {

using std::chrono::steady_clock;

class Freshly : public CacheFixture {
 protected:
  void Make(std::optional<std::chrono::nanoseconds> interval, CacheOptions options = {}) {
    delayed_ = std::make_shared<DelayedMonitor>(interval);
    options.monitor = delayed_;
    CacheFixture::Make(options);
  }

  // How often the monitor is asked in so many hits.
  int SettledIn(int hits, const Mapped& memory) {
    const int before = delayed_->settled();
    for (int i = 0; i < hits; ++i) {
      EXPECT_TRUE(cache_->Acquire(memory.data(), kPage, kWrite).ok());
    }
    return delayed_->settled() - before;
  }

  // The first acquire makes the region, the second the thread's place in the cache.
  void Warm(const Mapped& memory) {
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE(cache_->Acquire(memory.data(), kPage, kWrite).ok());
    }
  }

  std::shared_ptr<DelayedMonitor> delayed_;
};

TEST_F(Freshly, AMonitorThatSaysNothingOfItsPaceIsAskedOnEachAcquire) {
  for (const Freshness freshness : {Freshness::kStrict, Freshness::kSynchronised}) {
    Make(std::nullopt, {.freshness = freshness});
    const Mapped memory(kPage);
    Warm(memory);
    EXPECT_EQ(SettledIn(1000, memory), 1000);
  }
}

TEST_F(Freshly, StrictAsksOnceAnInterval) {
  constexpr std::chrono::milliseconds kInterval(100);
  constexpr int kHits = 20000;
  Make(kInterval);
  const Mapped memory(kPage);
  Warm(memory);
  const auto start = steady_clock::now();
  const int settled = SettledIn(kHits, memory);
  const auto passed = steady_clock::now() - start;
  const std::int64_t intervals = passed / kInterval;
  std::printf("%d hits in %lld intervals: asked %d times\n", kHits,
              static_cast<long long>(intervals), settled);
  if (TicksPerNanosecond() == 0) {
    EXPECT_EQ(settled, kHits) << "without a clock that is cheap, each hit asks";
    return;
  }
  EXPECT_LE(settled, intervals * 11 / 10 + 2);
  std::this_thread::sleep_for(2 * kInterval);
  EXPECT_EQ(SettledIn(1, memory), 1) << "the interval is over";
}

TEST_F(Freshly, StrictAsksInEachThread) {
  Make(std::chrono::hours(1));
  const Mapped memory(kPage);
  Warm(memory);
  int settled = 0;
  std::thread([&] { settled = SettledIn(100, memory); }).join();
  EXPECT_GE(settled, 1);
  if (TicksPerNanosecond() != 0) {
    EXPECT_LE(settled, 2) << "under the mutex, and after";
  }
}

TEST_F(Freshly, StrictAsksLessOftenThanItHitsAtTheMachinesOwnPace) {
  Make(ReuseTime());
  const Mapped memory(kPage);
  Warm(memory);
  constexpr int kHits = 200000;
  const int settled = SettledIn(kHits, memory);
  std::printf("an address is free for another in %lld ns; of %d hits %d asked\n",
              static_cast<long long>(ReuseTime().count()), kHits, settled);
  EXPECT_GE(settled, 1);
  EXPECT_LE(settled, kHits);
}

TEST_F(Freshly, SynchronisedNeverAsksWhileTheEpochIsEven) {
  Make(ReuseTime(), {.freshness = Freshness::kSynchronised});
  const Mapped memory(kPage);
  Warm(memory);
  EXPECT_EQ(SettledIn(10000, memory), 0);
}

TEST_F(Freshly, AHitWaitsWhileTheEpochIsOdd) {
  for (const Freshness freshness : {Freshness::kSynchronised, Freshness::kStrict}) {
    Make(std::chrono::hours(1), {.freshness = freshness});
    const Mapped memory(kPage);
    Warm(memory);
    const std::uint32_t lkey = Get(memory.data(), kPage, kWrite).lkey();
    delayed_->TakeNotice();
    std::atomic<bool> acquired = false;
    std::uint32_t got = lkey;
    std::thread other([&] {
      const auto lease = cache_->Acquire(memory.data(), kPage, kWrite);
      acquired = true;
      if (lease.ok()) got = lease->lkey();
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // Time to be wrong in.
    EXPECT_FALSE(acquired);
    delayed_->Tell(RangeAt(memory.data(), kPage));
    other.join();
    EXPECT_NE(got, lkey) << "told by the time the epoch was even";
  }
}

// The same thread, whose hits so far needed nobody: the odd epoch alone stops it.
TEST_F(Freshly, AThreadThatHasHitBeforeWaitsTooWhileTheEpochIsOdd) {
  for (const Freshness freshness : {Freshness::kSynchronised, Freshness::kStrict}) {
    Make(std::chrono::hours(1), {.freshness = freshness});
    const Mapped memory(kPage);
    const std::uint32_t lkey = Get(memory.data(), kPage, kWrite).lkey();
    SettledIn(100, memory);
    delayed_->TakeNotice();
    std::atomic<bool> told = false;
    std::thread reader([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      told = true;
      delayed_->Tell(RangeAt(memory.data(), kPage));
    });
    const auto lease = cache_->Acquire(memory.data(), kPage, kWrite);
    EXPECT_TRUE(told);
    reader.join();
    ASSERT_TRUE(lease.ok()) << lease.status();
    EXPECT_NE(lease->lkey(), lkey);
  }
}

TEST_F(Freshly, WhatIsTrustedIsNotLookedAfterOnAHit) {
  const std::optional<std::chrono::nanoseconds> paces[] = {std::nullopt, ReuseTime()};
  for (const Freshness freshness : {Freshness::kStrict, Freshness::kSynchronised}) {
    for (const auto& pace : paces) {
      Make(pace, {.freshness = freshness, .unwatched = Unwatched::kTrust});
      delayed_->set_coverage(Coverage::kNone);
      const Mapped memory(kPage);
      Warm(memory);
      delayed_->TakeNotice();  // Of some other change: the epoch is odd, and nobody waits.
      EXPECT_EQ(SettledIn(1000, memory), 0);
      delayed_->Tell({kPage, 2 * kPage});
      cache_->Invalidate(memory.data(), kPage);
      EXPECT_GE(SettledIn(1, memory), 1) << "a miss asks";
    }
  }
}

constexpr int kRounds = 200;
constexpr int kDeviceRounds = 50;  // Pinning takes its time.

TEST_F(Freshly, StrictNeverServesWhatAnotherThreadUnmapped) {
  Make(ReuseTime());
  ReuseWindow window(*cache_, *delayed_);
  EXPECT_EQ(window.CountOld(kRounds,
                            [&](const Lease& lease) { return lease.lkey() == window.old_lkey(); }),
            0);
}

// So the window is real, and the test finds it. An audit would too.
TEST_F(Freshly, SynchronisedCanServeWhatAnotherThreadUnmapped) {
  Make(ReuseTime(), {.freshness = Freshness::kSynchronised, .audit = Audit::kNone});
  ReuseWindow window(*cache_, *delayed_);
  const int old = window.CountOld(
      kRounds, [&](const Lease& lease) { return lease.lkey() == window.old_lkey(); });
  std::printf("the old region was served in %d of %d rounds\n", old, kRounds);
  EXPECT_GT(old, 0);
}

// The same with a device: what it moves are the bytes of the pages that it pinned.
class FreshBytes : public ::testing::TestWithParam<Freshness> {};

TEST_P(FreshBytes, AreWhatStrictMoves) {
  auto device = LoopbackDevice::Create();
  if (absl::IsUnavailable(device.status())) GTEST_SKIP() << device.status().ToString();
  ASSERT_TRUE(device.ok()) << device.status();
  const auto monitor = std::make_shared<DelayedMonitor>(ReuseTime());
  CacheOptions options;
  options.freshness = GetParam();
  options.max_idle_bytes = 1 << 20;
  options.monitor = monitor;
  if (GetParam() == Freshness::kSynchronised) options.audit = Audit::kNone;  // It finds them.
  const auto cache = RegistrationCache::Create(*device, options);
  ASSERT_TRUE(cache.ok()) << cache.status();
  const Mapped arrived(kPage);
  const auto sink = (*cache)->Acquire(arrived.data(), kPage, kWrite | Access::kRemoteWrite);
  ASSERT_TRUE(sink.ok()) << sink.status();
  ReuseWindow window(**cache, *monitor);
  const int old = window.CountOld(kDeviceRounds, [&](const Lease& lease) {
    const std::array<LocalExtent, 1> from{{{window.at(), kPage, lease.lkey()}}};
    EXPECT_EQ((*device)->Write(from, {arrived.start(), sink->rkey()}), Completion::kSuccess);
    return arrived.data()[0] != ReuseWindow::kNew || arrived.data()[kPage - 1] != ReuseWindow::kNew;
  });
  std::printf("old bytes were moved in %d of %d rounds\n", old, kDeviceRounds);
  if (GetParam() == Freshness::kStrict) {
    EXPECT_EQ(old, 0);
  } else {
    EXPECT_GT(old, 0) << "the window is real, and the test finds it";
  }
}

INSTANTIATE_TEST_SUITE_P(, FreshBytes,
                         ::testing::Values(Freshness::kStrict, Freshness::kSynchronised),
                         [](const auto& test) {
                           return test.param == Freshness::kStrict ? "Strict" : "Synchronised";
                         });

}  // namespace
}  // namespace linchpin::testing
