// Owners that come and go while threads acquire for them, mark, sync and invalidate.
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "lib/base/fd.h"
#include "linchpin/pin_file.h"
#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

constexpr int kThreads = 3;
constexpr int kRounds = 400;

class OwnedRace : public CacheFixture {
 protected:
  // A lease for an owner whose life ends somewhere in between.
  void OneRound(std::mt19937& random) {
    auto made = PinFile::Create({.grace = absl::Microseconds(random() % 300)});
    ASSERT_TRUE(made.ok()) << made.status();
    Fd holder(made->holder_fd);
    const std::shared_ptr<PinFile> file = std::move(made->file);
    std::vector<Lease> leases;
    const unsigned end = random() % 8;
    for (unsigned step = 0; step < 8; ++step) {
      if (step == end) holder.Reset(-1);
      const char* const at = memory_.data() + random() % 8 * kPage;
      auto lease = cache_->Acquire(at, 1 + random() % (2 * kPage),
                                   random() % 2 == 0 ? kWrite : kRemote, file);
      if (!lease.ok()) {
        EXPECT_FALSE(file->alive()) << lease.status();
        continue;
      }
      if (!lease->revoked()) static_cast<void>(lease->state());
      if (random() % 4 == 0) lease->MarkDirty(lease->range());
      if (random() % 2 == 0) leases.push_back(*std::move(lease));
      if (random() % 16 == 0) cache_->Invalidate(at, kPage);
      if (random() % 8 == 0) static_cast<void>(file->Sync());  // It may refuse what is held.
    }
    if (random() % 2 == 0) leases.clear();
    holder.Reset(-1);
    const absl::Status revoked = file->Revoke(absl::Milliseconds(1));
    EXPECT_TRUE(revoked.ok() ||
                WaitFor("revoked", [&] { return file->Revoke(absl::ZeroDuration()).ok(); }))
        << revoked;
    for (const Lease& lease : leases) EXPECT_TRUE(lease.revoked());
  }

  const Mapped memory_{16 * kPage};
};

TEST_F(OwnedRace, OwnersDieWhileOthersAcquireTheSameMemory) {
  Make();
  const auto seed = static_cast<unsigned>(::testing::UnitTest::GetInstance()->random_seed());
  SCOPED_TRACE(seed);
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(seed + i);
      for (int round = 0; round < kRounds && !HasFailure(); ++round) OneRound(random);
    });
  }
  std::thread plain([&] {
    std::mt19937 random(seed + kThreads);
    while (!stop) {
      const auto lease = cache_->Acquire(memory_.data() + random() % 8 * kPage, kPage, kWrite);
      if (!lease.ok()) continue;
      EXPECT_FALSE(lease->revoked());
      EXPECT_TRUE(registrar_->IsAlive(lease->lkey())) << "of a lease that nobody may revoke";
      if (random() % 64 == 0) cache_->Trim(0);
    }
  });
  for (std::thread& thread : threads) thread.join();
  stop = true;
  plain.join();
  EXPECT_TRUE(cache_->Drain(absl::Seconds(30)).ok());
  EXPECT_EQ(registrar_->registered_count(), 0u);
  const CacheStats stats = cache_->stats();
  EXPECT_EQ(stats.leases, 0u);
  EXPECT_GT(stats.revocations, 0u);
}

// Whether `round` is done `rounds` times in each of two threads within 30 s. If not the process
// ends: the threads never would.
bool BothEnd(const char* what, int rounds, const std::function<void(int thread)>& round) {
  std::atomic<int> left = 2;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 2; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < rounds; ++i) round(thread);
      --left;
    });
  }
  if (!WaitFor(what, [&] { return left == 0; })) std::abort();
  for (std::thread& thread : threads) thread.join();
  return true;
}

TEST_F(OwnedRace, SyncsOfDifferentFilesDoNotWaitForEachOther) {
  Make();
  const std::array<Owner, 2> owners;
  EXPECT_TRUE(BothEnd("syncs of two files", 3000, [&](int thread) {
    const auto at = static_cast<std::size_t>(thread);
    {
      auto lease = cache_->Acquire(memory_.data() + 8 * at * kPage, 100, kRemote, owners[at].file);
      ASSERT_TRUE(lease.ok()) << lease.status();
      lease->MarkDirty(lease->range());
    }
    EXPECT_TRUE(owners[at].file->Sync().ok());
  }));
}

TEST_F(OwnedRace, SyncsOfOneFileDoNotWaitForEachOther) {
  Make();
  const Owner owner;
  std::atomic<bool> stop = false;
  std::thread acquiring([&] {
    while (!stop) {
      EXPECT_TRUE(cache_->Acquire(memory_.data(), 100, kRemote, owner.file).ok());
    }
  });
  EXPECT_TRUE(
      BothEnd("syncs of one file", 3000, [&](int) { EXPECT_TRUE(owner.file->Sync().ok()); }));
  stop = true;
  acquiring.join();
}

TEST_F(OwnedRace, NothingSurvivesAnOwnerThatDiesDuringItsAcquires) {
  Make();
  for (int round = 0; round < 200; ++round) {
    const Owner owner;
    std::atomic<bool> begun = false;
    std::thread acquiring([&] {
      while (owner.file->alive()) {
        static_cast<void>(cache_->Acquire(memory_.data(), kPage, kWrite, owner.file).ok());
        begun = true;
      }
    });
    while (!begun) std::this_thread::yield();
    for (int i = 0; i < round; ++i) std::this_thread::yield();
    EXPECT_TRUE(owner.file->Revoke(absl::Seconds(30)).ok());
    acquiring.join();
    ASSERT_TRUE(WaitFor("deregistered", [&] { return registrar_->registered_count() == 0; }));
  }
}

TEST_F(OwnedRace, ACacheGoesWhileItsLeasesAreRevoked) {
  for (int round = 0; round < 10; ++round) {
    Make();
    const Owner owner;
    std::vector<Lease> leases;
    for (int i = 0; i < 200; ++i) {
      leases.push_back(*cache_->Acquire(memory_.data(), kPage, kWrite, owner.file));
      leases.back().MarkDirty(leases.back().range());
    }
    monitor_->Changed({memory_.start(), memory_.start() + kPage});
    std::atomic<bool> stop = false;
    std::thread asking([&] {
      while (!stop) static_cast<void>(owner.file->held());
    });
    std::thread revoking([&] { static_cast<void>(owner.file->Revoke(absl::Seconds(30)).ok()); });
    while (!leases.back().revoked()) std::this_thread::yield();
    leases.clear();
    cache_.reset();
    revoking.join();
    stop = true;
    asking.join();
  }
}

}  // namespace
}  // namespace linchpin::testing
