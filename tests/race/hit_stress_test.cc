// Everything that the hit path's design leans on, at once and for long: threads that acquire,
// release what others acquired, evict, invalidate, fence, drain, come and go.
//
// LINCHPIN_STRESS_SECONDS says how long; 60 if nothing does, 20 under sanitizers, and 5 where the
// test is repeated anyway (soak.race).
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "lib/base/mutex.h"
#include "linchpin/cache.h"
#include "linchpin/monitor.h"
#include "tests/race/poisoning_registrar.h"
#include "tests/testing/keepsakes.h"
#include "tests/testing/memory.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {
namespace {

using std::chrono::steady_clock;

constexpr int kThreads = 4;  // At any time.
constexpr std::size_t kPages = 4096;
constexpr std::size_t kHotPages = 32;
constexpr auto kPhase = std::chrono::seconds(3);  // Of one cache's life.
constexpr Access kWrite = Access::kLocalWrite;
constexpr Access kRemote = Access::kLocalWrite | Access::kRemoteWrite;

std::chrono::seconds Duration() {
  if (const char* seconds = std::getenv("LINCHPIN_STRESS_SECONDS")) {
    return std::chrono::seconds(std::max(1, std::atoi(seconds)));
  }
  if (GTEST_FLAG_GET(repeat) != 1) return std::chrono::seconds(5);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return std::chrono::seconds(20);
#else
  return std::chrono::seconds(60);
#endif
}

// Leases on their way from one thread to another.
class Mailbox final {
 public:
  void Put(Lease lease) {
    const MutexLock lock(mutex_);
    leases_.push_back(std::move(lease));
  }
  std::optional<Lease> Take(std::size_t more_than) {
    const MutexLock lock(mutex_);
    if (leases_.size() <= more_than) return std::nullopt;
    Lease lease = std::move(leases_.front());
    leases_.pop_front();
    return lease;
  }

 private:
  Mutex mutex_;
  std::deque<Lease> leases_ ABSL_GUARDED_BY(mutex_);
};

struct Tally {
  std::atomic<std::uint64_t> leases = 0;
  std::atomic<std::uint64_t> refused = 0;  // For want of room, or because all changed: allowed.
  std::atomic<std::uint64_t> wrong = 0;    // Refused for any other reason.
  std::atomic<std::uint64_t> given_away = 0;
  std::atomic<std::uint64_t> kept_while_slot_is_there = 0;
  std::atomic<std::uint64_t> kept_until_slot_is_gone = 0;
  std::atomic<std::uint64_t> threads = 0;
};

// The life of one cache.
class Phase final {
 public:
  Phase(std::shared_ptr<PoisoningRegistrar> registrar, const Mapped& memory, Keepsakes& keepsakes,
        Tally& tally)
      : registrar_(std::move(registrar)), memory_(memory), keepsakes_(keepsakes), tally_(tally) {}

  void Make(Freshness freshness) {
    CacheOptions options;
    options.freshness = freshness;
    options.max_idle_bytes = 4 << 20;
    options.max_regions = 128;
    options.monitor = monitor_;
    auto made = RegistrationCache::Create(registrar_, options);
    ASSERT_TRUE(made.ok()) << made.status();
    cache_ = *std::move(made);
  }

  // Threads follow each other at kThreads places, until `deadline`.
  void Load(steady_clock::time_point deadline, unsigned seed) {
    std::vector<std::thread> places;
    for (unsigned place = 0; place < kThreads; ++place) {
      places.emplace_back([this, deadline, seed = seed * kThreads + place] {
        std::mt19937 random(seed);
        while (steady_clock::now() < deadline) {
          std::thread([this, deadline, &random] { Live(random, deadline); }).join();
        }
      });
    }
    for (std::thread& place : places) place.join();
  }

  // Everything is given back, and then the cache is drained.
  void EndByDraining() {
    while (Pass(0)) continue;
    const absl::Status drained = cache_->Drain(absl::Seconds(30));
    EXPECT_TRUE(drained.ok()) << drained;
    cache_->CheckInvariantsForTest();
    const CacheStats stats = cache_->stats();
    EXPECT_EQ(stats.leases, 0u);
    EXPECT_EQ(stats.regions, 0u);
    EXPECT_EQ(stats.registrations, stats.deregistrations);
    cache_.reset();
  }

  // The cache goes first, while the last leases are given back.
  void EndByDestroying() {
    std::vector<std::thread> releasers;
    for (int i = 0; i < 2; ++i) {
      releasers.emplace_back([this] {
        while (Pass(0)) continue;
      });
    }
    cache_.reset();
    for (std::thread& releaser : releasers) releaser.join();
  }

 private:
  // One thread's life.
  void Live(std::mt19937& random, steady_clock::time_point deadline) {
    ++tally_.threads;
    std::vector<Lease> held(4);
    for (auto steps = random() % 2000; steps > 0 && steady_clock::now() < deadline; --steps) {
      Step(random, held);
    }
    for (Lease& lease : held) {
      if (!lease) continue;
      if (random() % 2 == 0) {
        ++tally_.kept_while_slot_is_there;
        keepsakes_.KeepWhileSlotIsThere(std::move(lease));
      } else {
        ++tally_.kept_until_slot_is_gone;
        keepsakes_.KeepUntilSlotIsGone(std::move(lease));
      }
    }
  }

  void Step(std::mt19937& random, std::vector<Lease>& held) {
    const auto dice = random() % 4096;
    const Range range = Anywhere(random);
    if (dice == 0) {
      static_cast<void>(cache_->Drain(absl::Milliseconds(random() % 3)).ok());
    } else if (dice < 8) {
      cache_->Trim(random() % (4 << 20));
    } else if (dice < 16) {
      static_cast<void>(cache_->Fence(Address(range), range.size(), absl::ZeroDuration()).ok());
    } else if (dice < 48) {
      monitor_->Changed(range);
    } else if (dice < 80) {
      cache_->Invalidate(Address(range), range.size());
    } else if (dice < 200) {
      AcquireSome({range, Anywhere(random), Anywhere(random)});
    } else if (dice < 800) {
      Pass(16);
    } else {
      Took(cache_->Acquire(Address(range), range.size(), dice % 64 == 0 ? kRemote : kWrite), random,
           held);
    }
  }

  // What becomes of a lease: it is given back at once, or later, or by another thread.
  void Took(absl::StatusOr<Lease> lease, std::mt19937& random, std::vector<Lease>& held) {
    if (!lease.ok()) return Refused(lease.status());
    ++tally_.leases;
    registrar_->Use(*lease);
    const auto fate = random() % 16;
    if (fate < 2) {
      ++tally_.given_away;
      mailbox_.Put(*std::move(lease));
      Pass(24);
    } else if (fate < 6) {
      Lease& place = held[random() % held.size()];
      if (place) registrar_->Use(place);
      place = *std::move(lease);
    }
  }

  void AcquireSome(const std::array<Range, 3>& ranges) {
    const auto leases = cache_->AcquireMany(ranges, kWrite);
    if (!leases.ok()) return Refused(leases.status());
    tally_.leases += leases->size();
    for (const Lease& lease : *leases) registrar_->Use(lease);
  }

  void Refused(const absl::Status& status) {
    if (absl::IsResourceExhausted(status) || absl::IsAborted(status)) {
      ++tally_.refused;
    } else if (++tally_.wrong == 1) {
      std::printf("refused: %s\n", status.ToString().c_str());
    }
  }

  // Gives back a lease of another thread's, if there are `more_than` so many. False if not.
  bool Pass(std::size_t more_than) {
    const std::optional<Lease> lease = mailbox_.Take(more_than);
    if (lease.has_value()) registrar_->Use(*lease);
    return lease.has_value();
  }

  Range Anywhere(std::mt19937& random) const {
    const bool hot = random() % 4 != 0;
    const std::size_t page = random() % (hot ? kHotPages : kPages);
    const std::size_t longest = random() % 64 == 0 ? 3 << 20 : 4 * kPage;
    const std::uintptr_t start = memory_.start() + page * kPage + random() % kPage;
    const std::uintptr_t end = memory_.start() + kPages * kPage;
    return {start, std::min(end, start + 1 + random() % longest)};
  }

  static const void* Address(const Range& range) {
    return reinterpret_cast<const void*>(range.start);  // NOLINT(performance-no-int-to-ptr)
  }

  const std::shared_ptr<PoisoningRegistrar> registrar_;
  const Mapped& memory_;
  Keepsakes& keepsakes_;
  Tally& tally_;
  const std::shared_ptr<ManualMonitor> monitor_ = std::make_shared<ManualMonitor>();
  std::unique_ptr<RegistrationCache> cache_;
  Mailbox mailbox_;
};

void Print(const char* what, std::uint64_t count) {
  std::printf("%-28s %llu\n", what, static_cast<unsigned long long>(count));
}

TEST(Stress, NoLeaseHasADeadKeyAndNoRegionIsStuck) {
  const Mapped memory(kPages * kPage);
  const auto registrar = std::make_shared<PoisoningRegistrar>();
  Keepsakes keepsakes([&](const Lease& lease) { registrar->Use(lease); });
  Tally tally;
  const auto end = steady_clock::now() + Duration();
  unsigned phases = 0;
  for (; steady_clock::now() < end && !::testing::Test::HasFailure(); ++phases) {
    Phase phase(registrar, memory, keepsakes, tally);
    phase.Make(phases / 2 % 2 == 0 ? Freshness::kSynchronised : Freshness::kStrict);
    phase.Load(std::min(end, steady_clock::now() + kPhase), phases);
    if (phases % 2 == 0) {
      phase.EndByDraining();
    } else {
      phase.EndByDestroying();
    }
    const auto all_gone = [&] { return registrar->registered() == registrar->deregistered(); };
    EXPECT_TRUE(all_gone() || WaitFor("the last region of a cache that ended", all_gone));
    EXPECT_EQ(registrar->violations(), 0u);
  }
  Print("caches", phases);
  Print("threads", tally.threads);
  Print("leases", tally.leases);
  Print("released by another thread", tally.given_away);
  Print("released as a thread ended", keepsakes.returned_with_slot());
  Print("and when its slot was gone", keepsakes.returned_without_slot());
  Print("refused for want of room", tally.refused);
  Print("registered", registrar->registered());
  Print("deregistered", registrar->deregistered());
  Print("violations", registrar->violations());
  EXPECT_EQ(tally.wrong, 0u);
  EXPECT_EQ(keepsakes.returned_with_slot(), tally.kept_while_slot_is_there);
  EXPECT_EQ(keepsakes.returned_without_slot(), tally.kept_until_slot_is_gone);
  EXPECT_GT(tally.leases, 1000u);
}

}  // namespace
}  // namespace linchpin::testing
