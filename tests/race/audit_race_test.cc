// A1: what the program may do while others hit is never a finding, and a changed page is never
// handed out. With the process's own monitor, and a device whose pins hold the old pages, so that
// no frame comes back while it is registered.
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "lib/pin/page_frames.h"
#include "linchpin/cache.h"
#include "linchpin/loopback.h"
#include "linchpin/monitor.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kPages = 8;

class AuditRace : public ::testing::TestWithParam<Freshness> {
 protected:
  void SetUp() override {
    const absl::Status readable = internal::OpenPageMapWithFrames().status();
    if (!readable.ok()) GTEST_SKIP() << readable;
    if (!MemoryMonitor::Shared()->status().ok()) {
      GTEST_SKIP() << MemoryMonitor::Shared()->status();
    }
    auto device = LoopbackDevice::Create();
    if (absl::IsUnavailable(device.status())) GTEST_SKIP() << device.status();
    ASSERT_TRUE(device.ok()) << device.status();
    CacheOptions options;
    options.freshness = GetParam();
    options.max_idle_bytes = 16 << 20;
    options.audit = Audit::kAll;
    options.on_audit = [this](const AuditFinding& finding) {
      if (findings_++ < 5) ADD_FAILURE() << "found " << finding.page.ToString();
    };
    auto cache = RegistrationCache::Create(*std::move(device), std::move(options));
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
  }

  void TearDown() override {
    if (cache_ == nullptr) return;
    const CacheStats stats = cache_->stats();
    EXPECT_GT(stats.audits, 0u);
    EXPECT_EQ(stats.audit_findings, 0u);
    EXPECT_EQ(stats.unaudited, 0u);
    std::printf("%lu of %lu hits compared, %lu misses, %lu regions invalidated\n", stats.audits,
                stats.hits, stats.misses, stats.invalidations);
  }

  static void Fill(char* at, std::size_t bytes, unsigned round) {
    std::memset(at, static_cast<int>(round % 255) + 1, bytes);
  }

  // New pages where there were others, in one step.
  static void MapOver(char* at, std::size_t bytes) {
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    ASSERT_EQ(mmap(at, bytes, PROT_READ | PROT_WRITE, kFlags, -1, 0), at);
  }

  // Hits pieces of `memory` until `over`. Aborted is no fault: others may map over it all the time.
  void HitUntil(const std::atomic<bool>& over, const Mapped& memory, unsigned seed) {
    std::mt19937 random(seed);
    while (!over) {
      const std::size_t first = random() % kPages;
      const std::size_t count = 1 + random() % (kPages - first);
      const auto lease =
          cache_->Acquire(memory.data() + first * kPage, count * kPage, Access::kLocalWrite);
      const bool good = lease.ok() || absl::IsAborted(lease.status());
      if (!good) ADD_FAILURE() << lease.status();
    }
  }

  std::unique_ptr<RegistrationCache> cache_;
  std::atomic<int> findings_ = 0;
};

TEST_P(AuditRace, FourThreadsHitWhileAnotherMapsAndUnmapsItsOwn) {
  const Mapped memory(kPages * kPage);
  Fill(memory.data(), memory.size(), 0);
  std::atomic<bool> over = false;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] { HitUntil(over, memory, i); });
  }
  const Mapped own(kPages * kPage);
  for (unsigned round = 0; round < 500 || cache_->stats().audits < 5000; ++round) {
    MapOver(own.data(), own.size());
    Fill(own.data(), own.size(), round);
    for (int i = 0; i < 2; ++i) {
      const auto lease = cache_->Acquire(own.data(), own.size(), Access::kLocalWrite);
      EXPECT_TRUE(lease.ok()) << lease.status();
    }
  }
  over = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_P(AuditRace, TwoThreadsHitWhatAnotherMapsOver) {
  const Mapped memory(kPages * kPage);
  Fill(memory.data(), memory.size(), 0);
  std::atomic<bool> over = false;
  std::thread first([&] { HitUntil(over, memory, 1); });
  std::thread second([&] { HitUntil(over, memory, 2); });
  for (unsigned round = 0; round < 1000; ++round) {
    char* const at = memory.data() + round % kPages * kPage;
    MapOver(at, kPage);
    Fill(at, kPage, round);
    if (round % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  over = true;
  first.join();
  second.join();
}

// After a discard nothing of that memory is kept for a second, so each round has memory of its own.
TEST_P(AuditRace, TwoThreadsHitWhatAnotherDiscards) {
  const std::vector<Mapped> memories = [] {
    std::vector<Mapped> made;
    for (int i = 0; i < 100; ++i) made.emplace_back(kPages * kPage);
    return made;
  }();
  for (unsigned round = 0; round < memories.size(); ++round) {
    const Mapped& memory = memories[round];
    Fill(memory.data(), memory.size(), round);
    std::atomic<bool> over = false;
    std::thread first([&] { HitUntil(over, memory, round); });
    std::thread second([&] { HitUntil(over, memory, round + 1); });
    const std::uint64_t audits = cache_->stats().audits;
    while (cache_->stats().audits < audits + 20) std::this_thread::yield();
    EXPECT_EQ(madvise(memory.data(), memory.size(), MADV_DONTNEED), 0);
    Fill(memory.data(), memory.size(), round + 1);
    over = true;
    first.join();
    second.join();
  }
}

INSTANTIATE_TEST_SUITE_P(, AuditRace,
                         ::testing::Values(Freshness::kStrict, Freshness::kSynchronised),
                         [](const auto& test) {
                           return test.param == Freshness::kStrict ? "Strict" : "Synchronised";
                         });

}  // namespace
}  // namespace linchpin::testing
