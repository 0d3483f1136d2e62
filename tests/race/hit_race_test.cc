// The races of the hit path, numbered as in docs/concurrency.md: each timeline many times over,
// with a registrar that knows which keys are alive. ThreadSanitizer runs these too.
#include "tests/race/hit_race.h"

#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/testing/keepsakes.h"

namespace linchpin::testing {
namespace {

INSTANTIATE_TEST_SUITE_P(, HitRace, ::testing::Values(Pair::kMembarrier, Pair::kFences),
                         [](const auto& test) {
                           return test.param == Pair::kMembarrier ? "Membarrier" : "Fences";
                         });

TEST_P(HitRace, H1AHitAgainstARetirement) {
  Make();
  const Body hit = [&](int) {
    Lease lease;  // Nearly always one is out, old or new.
    for (int i = 0; i < 8; ++i) {
      lease = Get(0);
      if (i % 4 == 0) std::this_thread::yield();
      if (lease) registrar_->Use(lease);
    }
  };
  const Body retire = [&](int) {
    Change(0);
    Flush();
  };
  Together(4000, {hit, hit, retire});
  ExpectNothingHeld();
}

TEST_P(HitRace, H2TheLastReleaseAgainstTheFlush) {
  Make();
  std::atomic<int> acquired = 0;
  std::atomic<int> changed = 0;
  // Both have a lease on one region before it changes, and let go as limbo is flushed.
  const auto release = [&](unsigned seed) {
    return [&, random = std::minstd_rand(seed)](int round) mutable {
      Hit(0);
      const Lease lease = Get(0);
      ++acquired;
      while (changed <= round) std::this_thread::yield();
      if (lease) registrar_->Use(lease);
      for (auto pause = random() % 200; pause > 0; --pause) static_cast<void>(changed.load());
    };
  };
  const Body flush = [&](int round) {
    while (acquired < 2 * (round + 1)) std::this_thread::yield();
    Change(0);
    ++changed;
    Flush();
  };
  Together(4000, {release(1), release(2), flush});
  // Not by Drain, which would look for itself: whoever let go last has to have told.
  EXPECT_TRUE(WaitFor("each region that changed is gone", [&] { return AllGone(); }));
  ExpectNothingHeld();
}

// Taken under the mutex, let go without it. Now and then the id was a local region's just before,
// so that a hit which comes late counts on it, and takes that back.
TEST_P(HitRace, H2TheLastReleaseOfAnExactRegion) {
  Make();
  const Body exact = [&](int) {
    for (int i = 0; i < 4; ++i) {
      const auto lease = cache_->Acquire(memory_.data(), kPage, kWrite | Access::kRemoteWrite);
      if (lease.ok()) registrar_->Use(*lease);
    }
  };
  const Body local = [&](int) {
    Hit(0);
    Change(0);
    Flush();
    Hit(0);
  };
  Together(2000, {exact, exact, local});
  Change(0);
  EXPECT_TRUE(WaitFor("each region is gone", [&] { return AllGone(); }));
  ExpectNothingHeld();
}

// Ids are used again at once, for other ranges that begin where the last one did.
TEST_P(HitRace, H3AHintForARegionThatIsGone) {
  Make();
  const auto hit = [&](std::size_t pages) {
    return [&, pages](int round) {
      for (std::size_t i = 0; i < 4; ++i) Hit((static_cast<std::size_t>(round) + i) % 4, pages);
    };
  };
  const Body replace = [&](int round) {
    Change(0, 8);
    Flush();
    const absl::Status gone = cache_->Fence(memory_.data(), 8 * kPage, absl::ZeroDuration());
    static_cast<void>(gone.ok());  // Or held: the next round's.
    Hit(static_cast<std::size_t>(round) % 4, 4);
  };
  Together(2000, {hit(1), hit(3), replace});
  ExpectNothingHeld();
}

TEST_P(HitRace, H4CountingExactly) {
  Make();
  std::atomic<std::uint64_t> miscounted = 0;
  Lease held = Get(9);
  const std::uint64_t before = registrar_->deregistered();
  const Body hit = [&](int round) {
    for (int i = 0; i < 100; ++i) Hit(static_cast<std::size_t>(round) % 2);
  };
  // Never idle: a lease is taken before the other one is given back.
  Lease chain = Get(8);
  const Body relay = [&](int) {
    for (int i = 0; i < 100; ++i) chain = Get(8);
  };
  const Body count = [&](int) {
    for (int i = 0; i < 4; ++i) cache_->Trim(0);
    const CacheStats stats = cache_->stats();
    // What is counted while others hit may be too much, and never too little.
    if ((stats.leases < 2 || stats.held_bytes < 2 * kPage) && ++miscounted == 1) {
      std::printf("%llu leases on %llu bytes\n", static_cast<unsigned long long>(stats.leases),
                  static_cast<unsigned long long>(stats.held_bytes));
    }
  };
  Together(1000, {hit, relay, count});
  EXPECT_EQ(miscounted, 0u);
  EXPECT_EQ(chain.registered().size(), kPage);
  registrar_->Use(held);
  registrar_->Use(chain);
  std::printf("%llu regions were trimmed meanwhile\n",
              static_cast<unsigned long long>(registrar_->deregistered() - before));
  chain = Lease();
  held = Lease();
  ExpectNothingHeld();
}

TEST_P(HitRace, H5AThreadEnds) {
  constexpr int kRounds = 1000;
  Keepsakes keepsakes([this](const Lease& lease) { registrar_->Use(lease); });
  Make();
  Mutex mutex;
  std::vector<Lease> left;  // By threads that have ended, for those that follow.
  const Body live_and_end = [&](int round) {
    std::thread([&] {
      const std::size_t page = static_cast<std::size_t>(round) % 2;
      Hit(page);
      if (round / 2 % 2 == 0) {
        keepsakes.KeepWhileSlotIsThere(Get(page));
      } else {
        keepsakes.KeepUntilSlotIsGone(Get(page));
      }
      Lease lease = Get(page);
      const MutexLock lock(mutex);
      for (const Lease& kept : left) {
        if (kept) registrar_->Use(kept);
      }
      if (left.size() >= 4) left.erase(left.begin(), left.begin() + 2);
      left.push_back(std::move(lease));
    }).join();
  };
  const Body change_and_count = [&](int round) {
    Change(static_cast<std::size_t>(round) % 2);
    Flush();
    if (round % 4 == 0) cache_->Trim(0);
  };
  Together(kRounds, {live_and_end, live_and_end, change_and_count});
  EXPECT_EQ(keepsakes.returned_with_slot(), kRounds);  // Of two threads, each second time.
  EXPECT_EQ(keepsakes.returned_without_slot(), kRounds);
  left.clear();
  ExpectNothingHeld();
}

TEST_P(HitRace, H6TheLastReleaseAgainstTheEndOfTheCache) {
  for (int round = 0; round < 200; ++round) {
    Make();
    std::barrier acquired(3);
    const Body release = [&](int) {
      Hit(0);
      const Lease lease = Get(0);
      acquired.arrive_and_wait();
      if (lease) registrar_->Use(lease);
    };
    const Body end = [&](int) {
      acquired.arrive_and_wait();
      if (round % 3 == 0) Change(0);
      cache_.reset();
    };
    Together(1, {release, release, end});
    ASSERT_TRUE(AllGone() || WaitFor("the orphan ended", [&] { return AllGone(); }));
  }
}

// Knows which version of the memory each registration has pinned.
class VersionedRegistrar final : public Registrar {
 public:
  absl::StatusOr<Registration> Register(Range range, Access access) override {
    const std::uint32_t key = ++last_key_;
    pinned_[key % pinned_.size()] = mapped_.load();
    return Registration{range, access, {{key, key}}, key};
  }
  absl::Status Deregister(Registration& registration) override {
    registration.handle = 0;
    return absl::OkStatus();
  }
  RegistrarLimits limits() const override { return {}; }

  int Remap() { return ++mapped_; }  // Returns: the version that is mapped from now on.
  int PinnedBy(const Lease& lease) const { return pinned_[lease.lkey() % pinned_.size()]; }

 private:
  std::atomic<int> mapped_ = 0;
  std::atomic<std::uint32_t> last_key_ = 0;
  std::vector<std::atomic<int>> pinned_ = std::vector<std::atomic<int>>(1 << 16);
};

// The reader is a thread of its own, and who unmaps goes on when it has read, as in the kernel: it
// need not have told. Whoever synchronises with that finds the epoch odd at least.
TEST_P(HitRace, H7Freshness) {
  for (const Freshness freshness : {Freshness::kSynchronised, Freshness::kStrict}) {
    const auto registrar = std::make_shared<VersionedRegistrar>();
    CacheOptions options;
    options.freshness = freshness;
    options.max_idle_bytes = 1 << 20;
    options.monitor = monitor_;
    const auto cache = RegistrationCache::Create(registrar, options);
    ASSERT_TRUE(cache.ok()) << cache.status();
    std::atomic<int> synchronised = 0;  // Versions up to this one are known to be mapped.
    std::atomic<int> old = 0;
    const Body hit = [&](int) {
      for (int i = 0; i < 16; ++i) {
        const int known = synchronised.load(std::memory_order_acquire);
        const auto lease = (*cache)->Acquire(memory_.data(), kPage, kWrite);
        if (lease.ok() && registrar->PinnedBy(*lease) < known) ++old;
      }
    };
    const Body remap = [&](int) {
      for (int i = 0; i < 2; ++i) {
        const int version = registrar->Remap();
        monitor_->Tell({memory_.start(), memory_.start() + kPage},
                       [&] { synchronised.store(version, std::memory_order_release); });
      }
    };
    Together(1500, {hit, hit, remap});
    EXPECT_EQ(old, 0) << "what was unmapped before was served after";
  }
}

// The threads are new to each cache, and so is the block of hints.
TEST_P(HitRace, H8AColumnOrABlockOfHintsThatIsJustMade) {
  for (int round = 0; round < 200; ++round) {
    Make();
    const Body hit = [&](int) {
      for (std::size_t i = 0; i < 8; ++i) Hit(i % 2);
    };
    const Body change_and_count = [&](int) {
      for (int i = 0; i < 4; ++i) {
        Change(0, 2);
        Flush();
        if (i == round % 4) cache_->Trim(0);
      }
    };
    Together(1, {hit, hit, change_and_count});
    ExpectNothingHeld();
    cache_.reset();
  }
}

}  // namespace
}  // namespace linchpin::testing
