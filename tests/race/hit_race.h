// HitRace: a cache under a monitor at the pace of the real one, with membarrier and with the fences
// that stand in for it; and threads that start each round together.
#pragma once

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "lib/base/barrier.h"
#include "lib/base/mutex.h"
#include "linchpin/cache.h"
#include "linchpin/monitor.h"
#include "tests/race/poisoning_registrar.h"
#include "tests/testing/memory.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {

inline constexpr Access kWrite = Access::kLocalWrite;

// Says what changed when the test says so, and at the pace of a monitor whose reader is a thread.
class PacedMonitor final : public MemoryMonitor {
 public:
  // As the reader does it; returns when all listeners have been told. `unmapped` is called as soon
  // as whoever unmapped may go on: the event has been read, and nobody has been told.
  void Tell(
      Range range, const std::function<void()>& unmapped = [] {}) {
    const MutexLock lock(mutex_);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    unmapped();
    if (listener_ != nullptr) listener_->OnChanged(range);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
  }

  void AddListener(Listener* listener) override {
    const MutexLock lock(mutex_);
    listener_ = listener;
  }
  void RemoveListener(Listener* listener) override {
    const MutexLock lock(mutex_);
    if (listener_ == listener) listener_ = nullptr;  // Not when a new cache took its place.
  }
  WatchedExtent Watch(Range range, bool) override {
    WatchedExtent extent;
    extent.range = {range.start & ~(kPage - 1), (range.end + kPage - 1) & ~(kPage - 1)};
    extent.uniform = true;
    extent.coverage = Coverage::kAll;
    return extent;
  }
  void Forget(Range) override {}
  void Settle() override {
    while (epoch_.load(std::memory_order_acquire) % 2 != 0) std::this_thread::yield();
  }
  Pace pace() const override { return {&epoch_, std::chrono::nanoseconds(500)}; }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  std::atomic<std::uint64_t> epoch_{0};
  Mutex mutex_;
  Listener* listener_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

// One round of one thread.
using Body = std::function<void(int round)>;

// Runs each body in a thread of its own, `rounds` times, all starting each round together.
inline void Together(int rounds, const std::vector<Body>& bodies) {
  std::barrier start(static_cast<std::ptrdiff_t>(bodies.size()));
  std::vector<std::thread> threads;
  threads.reserve(bodies.size());
  for (const Body& body : bodies) {
    threads.emplace_back([&start, &body, rounds] {
      for (int round = 0; round < rounds; ++round) {
        start.arrive_and_wait();
        body(round);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

enum class Pair : std::uint8_t { kMembarrier, kFences };

class HitRace : public ::testing::TestWithParam<Pair> {
 protected:
  void SetUp() override {
    Barrier::RefuseForTest(GetParam() == Pair::kFences);
    if (GetParam() == Pair::kMembarrier && !Barrier().asymmetric()) {
      GTEST_SKIP() << "membarrier is refused here; the fences are tested";
    }
  }

  void TearDown() override {
    Barrier::RefuseForTest(false);
    cache_.reset();
    EXPECT_TRUE(AllGone() || WaitFor("the last region", [&] { return AllGone(); }));
    EXPECT_EQ(registrar_->violations(), 0u) << "a lease had a dead key, or another range's";
    EXPECT_EQ(refused_, 0);
  }

  void Make(CacheOptions options = {}) {
    options.monitor = monitor_;
    options.max_idle_bytes = 1 << 30;
    options.max_regions = 256;
    auto made = RegistrationCache::Create(registrar_, options);
    ASSERT_TRUE(made.ok()) << made.status();
    cache_ = *std::move(made);
  }

  Lease Get(std::size_t page, std::size_t pages = 1) {
    auto lease = cache_->Acquire(memory_.data() + page * kPage, pages * kPage, kWrite);
    if (lease.ok()) registrar_->Use(*lease);
    // Aborted: the mapping changed during each of four registrations.
    if (!lease.ok() && !absl::IsAborted(lease.status()) && ++refused_ == 1) {
      std::printf("refused: %s\n", lease.status().ToString().c_str());
    }
    return lease.ok() ? *std::move(lease) : Lease();
  }

  // Holds a lease for a moment; its key has to be alive to the end of it.
  void Hit(std::size_t page, std::size_t pages = 1) {
    const Lease lease = Get(page, pages);
    if (lease) registrar_->Use(lease);
  }

  void Change(std::size_t page, std::size_t pages = 1) {
    const std::uintptr_t start = memory_.start() + page * kPage;
    monitor_->Tell({start, start + pages * kPage});
  }

  bool AllGone() const { return registrar_->registered() == registrar_->deregistered(); }

  // What is in limbo goes now: counts it, after one heavy barrier.
  void Flush() { static_cast<void>(cache_->stats()); }

  void ExpectNothingHeld() {
    cache_->CheckInvariantsForTest();
    const CacheStats stats = cache_->stats();
    EXPECT_EQ(stats.leases, 0u);
    EXPECT_EQ(stats.held_bytes, 0u);
    EXPECT_EQ(stats.stale_regions, 0u);
    const absl::Status drained = cache_->Drain(absl::Seconds(30));
    EXPECT_TRUE(drained.ok()) << drained;
  }

  const Mapped memory_{16 * kPage};
  const std::shared_ptr<PoisoningRegistrar> registrar_ = std::make_shared<PoisoningRegistrar>();
  const std::shared_ptr<PacedMonitor> monitor_ = std::make_shared<PacedMonitor>();
  std::unique_ptr<RegistrationCache> cache_;
  std::atomic<int> refused_ = 0;
};

}  // namespace linchpin::testing
