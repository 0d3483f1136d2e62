// The cache's races, numbered as in docs/concurrency.md: each timeline run many times over, with a
// registrar that knows which keys are alive. ThreadSanitizer runs these too.
#include <atomic>
#include <latch>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "linchpin/cache.h"
#include "linchpin/monitor.h"
#include "tests/testing/fake_registrar.h"
#include "tests/testing/memory.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {
namespace {

constexpr Access kWrite = Access::kLocalWrite;
constexpr Access kRemote = Access::kLocalWrite | Access::kRemoteWrite;

class CacheRace : public ::testing::Test {
 protected:
  void Make(CacheOptions options = {}) {
    options.monitor = monitor_;
    if (options.max_idle_bytes == 0) options.max_idle_bytes = 1 << 30;
    auto made = RegistrationCache::Create(registrar_, options);
    ASSERT_TRUE(made.ok());
    cache_ = *std::move(made);
  }

  // Runs the bodies at once, each in a thread of its own, all starting together.
  static void Together(const std::vector<std::function<void()>>& bodies) {
    std::latch start(static_cast<std::ptrdiff_t>(bodies.size()));
    std::vector<std::thread> threads;
    threads.reserve(bodies.size());
    for (const auto& body : bodies) {
      threads.emplace_back([&start, &body] {
        start.arrive_and_wait();
        body();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  // Acquires, checks that the key is alive while the lease is held, and lets go.
  void Use(const char* at, std::size_t length, Access access) {
    const auto lease = cache_->Acquire(at, length, access);
    if (!lease.ok()) return;
    if (!registrar_->IsAlive(lease->lkey())) ++dead_keys_;
  }

  void ExpectAllGone() {
    EXPECT_EQ(dead_keys_, 0) << "a lease had a dead key";
    if (cache_ != nullptr) {
      cache_->CheckInvariantsForTest();
      EXPECT_TRUE(cache_->Drain(absl::Seconds(30)).ok());
    }
    EXPECT_EQ(registrar_->registered_count(), 0u);
  }

  std::shared_ptr<FakeRegistrar> registrar_ = std::make_shared<FakeRegistrar>();
  std::shared_ptr<ManualMonitor> monitor_ = std::make_shared<ManualMonitor>();
  std::unique_ptr<RegistrationCache> cache_;
  std::atomic<int> dead_keys_ = 0;
};

TEST_F(CacheRace, R1AChangeDuringARegistrationIsNeverLost) {
  Make();
  const Mapped memory(kPage);
  // What is mapped there now, and what each registration found.
  std::atomic<int> version = 0;
  std::atomic<int> found = -1;
  registrar_->OnRegister([&](Range, Access) {
    found = version.load();
    return absl::OkStatus();
  });
  for (int round = 0; round < 2000; ++round) {
    std::optional<Lease> lease;
    Together({[&] {
                auto got = cache_->Acquire(memory.data(), 8, kWrite);
                if (got.ok()) lease = *std::move(got);
              },
              [&] {
                ++version;
                monitor_->Changed({memory.start(), memory.start() + kPage});
              }});
    ASSERT_TRUE(lease.has_value());
    if (lease->state() == LeaseState::kValid) {
      ASSERT_EQ(found, version);
    }
    lease.reset();
    // Whoever asks now, after the change, gets the new version.
    const auto after = cache_->Acquire(memory.data(), 8, kWrite);
    ASSERT_TRUE(after.ok());
    ASSERT_EQ(found, version) << "the change was lost";
  }
  ExpectAllGone();
}

TEST_F(CacheRace, R2TheLastReleaseAgainstAnInvalidation) {
  Make();
  const Mapped memory(kPage);
  for (int round = 0; round < 2000; ++round) {
    auto first = cache_->Acquire(memory.data(), 8, kWrite);
    auto second = cache_->Acquire(memory.data(), 8, kWrite);
    ASSERT_TRUE(first.ok() && second.ok());
    Together({[&] { *first = Lease(); }, [&] { *second = Lease(); },
              [&] { cache_->Invalidate(memory.data(), kPage); }});
  }
  ExpectAllGone();
}

TEST_F(CacheRace, R3TheLastReleaseAgainstTheEndOfTheCache) {
  const Mapped memory(kPage);
  for (int round = 0; round < 500; ++round) {
    Make();
    auto first = cache_->Acquire(memory.data(), 8, kWrite);
    auto second = cache_->Acquire(memory.data(), 8, kRemote);
    ASSERT_TRUE(first.ok() && second.ok());
    Together({[&] { *first = Lease(); }, [&] { *second = Lease(); }, [&] { cache_.reset(); }});
    ASSERT_TRUE(registrar_->registered_count() == 0 ||
                WaitFor("the orphan ended", [&] { return registrar_->registered_count() == 0; }));
  }
  ExpectAllGone();
}

TEST_F(CacheRace, R4OverlappingMissesGoLiveTogether) {
  Make();
  const Mapped memory(32 * kPage);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::function<void()>> bodies;
    for (std::size_t i = 0; i < 4; ++i) {
      bodies.emplace_back([&, i] {
        for (std::size_t at = i; at + 6 < 32; at += 5) {
          Use(memory.data() + at * kPage, (2 + i) * kPage, i % 2 == 0 ? kWrite : Access::kMwBind);
        }
      });
    }
    Together(bodies);
    cache_->CheckInvariantsForTest();
    cache_->Trim(0);
  }
  ExpectAllGone();
}

TEST_F(CacheRace, R5WaitersAgainstAFailingRegistration) {
  Make();
  const Mapped memory(4 * kPage);
  std::atomic<int> turn = 0;
  registrar_->OnRegister([&](Range, Access) {
    std::this_thread::yield();
    return ++turn % 3 == 0 ? absl::InvalidArgumentError("EINVAL") : absl::OkStatus();
  });
  for (int round = 0; round < 1000; ++round) {
    const auto body = [&] { Use(memory.data(), 4 * kPage, kWrite); };
    Together({body, body, body});
    cache_->Trim(0);
  }
  ExpectAllGone();
}

TEST_F(CacheRace, R6RoomIsMadeByManyAtOnce) {
  Make();
  std::vector<Mapped> buffers;
  for (int i = 0; i < 24; ++i) buffers.emplace_back(kPage);
  registrar_->OnRegister([&](Range range, Access) {
    return registrar_->registered_bytes() + range.size() > 8 * kPage
               ? absl::ResourceExhaustedError("ENOMEM")
               : absl::OkStatus();
  });
  std::atomic<int> served = 0;
  std::vector<std::function<void()>> bodies;
  for (unsigned seed = 0; seed < 4; ++seed) {
    bodies.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 1500; ++i) {
        const auto lease = cache_->Acquire(buffers[random() % 24].data(), kPage, kWrite);
        if (lease.ok()) ++served;
        if (lease.ok() && !registrar_->IsAlive(lease->lkey())) ++dead_keys_;
      }
    });
  }
  Together(bodies);
  std::printf("%d of 6000 served with room for 8 regions\n", served.load());
  EXPECT_EQ(served, 6000) << "each thread holds one region of eight at most";
  ExpectAllGone();
}

TEST_F(CacheRace, R7CloseAgainstAcquire) {
  const Mapped memory(8 * kPage);
  for (int round = 0; round < 300; ++round) {
    Make();
    std::atomic<bool> stop = false;
    absl::Status closed;
    Together({[&] {
                for (std::size_t i = 0; !stop; ++i) {
                  Use(memory.data() + i % 8 * kPage, 8, i % 3 == 0 ? kRemote : kWrite);
                }
              },
              [&] {
                closed = cache_->Close(absl::Seconds(30));
                stop = true;
              }});
    ASSERT_TRUE(closed.ok()) << closed;
    ASSERT_FALSE(cache_->Acquire(memory.data(), 8, kWrite).ok());
    ASSERT_EQ(registrar_->registered_count(), 0u);
  }
}

TEST_F(CacheRace, R8EverythingAtOnce) {
  Make({.max_idle_bytes = 16 * kPage});
  const Mapped memory(64 * kPage);
  std::vector<std::function<void()>> bodies;
  for (unsigned seed = 0; seed < 3; ++seed) {
    bodies.emplace_back([&, seed] {
      std::mt19937 random(seed);
      std::vector<Lease> held(4);
      for (int i = 0; i < 4000; ++i) {
        const std::size_t page = random() % 56;
        auto lease = cache_->Acquire(memory.data() + page * kPage, 1 + random() % (8 * kPage),
                                     random() % 4 == 0 ? kRemote : kWrite);
        if (!lease.ok()) continue;
        if (!registrar_->IsAlive(lease->lkey())) ++dead_keys_;
        Lease& place = held[random() % held.size()];
        if (place && !registrar_->IsAlive(place.lkey())) ++dead_keys_;
        place = *std::move(lease);
      }
    });
  }
  bodies.emplace_back([&] {
    std::mt19937 random(9);
    for (int i = 0; i < 3000; ++i) {
      const std::uintptr_t start = memory.start() + random() % 64 * kPage;
      monitor_->Changed({start, start + kPage});
      if (i % 100 == 0) cache_->Trim(4 * kPage);
      if (i % 500 == 0) static_cast<void>(cache_->Fence(memory.data(), kPage, {}).ok());
    }
  });
  Together(bodies);
  ExpectAllGone();
}

}  // namespace
}  // namespace linchpin::testing
