// Misses: who waits for whom, and what a refusal leaves behind.
#include <atomic>
#include <latch>
#include <thread>

#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

class Miss : public CacheFixture {};

TEST_F(Miss, ThreadsThatWantTheSameRangeShareOneRegistration) {
  Make();
  const Mapped memory(4 * kPage);
  std::latch entered(1);
  std::atomic<bool> go = false;
  registrar_->OnRegister([&](Range, Access) {
    entered.count_down();
    while (!go) std::this_thread::yield();
    return absl::OkStatus();
  });
  std::vector<std::thread> threads;
  std::vector<Lease> leases(6);
  for (Lease& lease : leases) {
    threads.emplace_back([&] { lease = Get(memory.data(), 100, kWrite); });
  }
  entered.wait();
  WaitFor("all missed", [&] { return cache_->stats().misses == 6; });
  go = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registrar_->calls(), 1);
  for (const Lease& lease : leases) EXPECT_EQ(lease.lkey(), leases[0].lkey());
}

TEST_F(Miss, AHitElsewhereIsNotDelayedByARegistration) {
  Make();
  const Mapped hit(kPage);
  const Mapped slow(kPage);
  Get(hit.data(), 8, kWrite);
  std::latch entered(1);
  std::atomic<bool> go = false;
  registrar_->OnRegister([&](Range, Access) {
    entered.count_down();
    while (!go) std::this_thread::yield();
    return absl::OkStatus();
  });
  std::thread registering([&] { Get(slow.data(), 8, kWrite); });
  entered.wait();
  for (int i = 0; i < 1000; ++i) Get(hit.data(), 8, kWrite);  // Would hang for ever.
  EXPECT_EQ(cache_->stats().hits, 1000u);
  go = true;
  registering.join();
}

TEST_F(Miss, AFailureIsGivenToItsWaitersAndForgotten) {
  Make();
  const Mapped memory(kPage);
  std::latch entered(1);
  std::atomic<bool> go = false;
  registrar_->OnRegister([&](Range, Access) {
    if (!go) entered.count_down();
    while (!go) std::this_thread::yield();
    return absl::InvalidArgumentError("EINVAL");
  });
  std::vector<std::thread> threads;
  std::atomic<int> refused = 0;
  const auto ask = [&] {
    const auto lease = cache_->Acquire(memory.data(), 100, kWrite);
    if (lease.status().code() == absl::StatusCode::kInvalidArgument) ++refused;
  };
  threads.emplace_back(ask);
  entered.wait();
  for (int i = 0; i < 3; ++i) threads.emplace_back(ask);
  WaitFor("all missed", [&] { return cache_->stats().misses == 4; });
  go = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, 4);
  registrar_->OnRegister(nullptr);
  Get(memory.data(), 100, kWrite);
}

TEST_F(Miss, AFailedRangeDoesNotPoisonASmallerOne) {
  Make();
  const Mapped memory(8 * kPage);
  registrar_->OnRegister([&](Range range, Access) {
    return range.end > memory.start() + 4 * kPage ? absl::FailedPreconditionError("EFAULT")
                                                  : absl::OkStatus();
  });
  EXPECT_FALSE(cache_->Acquire(memory.data(), 8 * kPage, kWrite).ok());
  const Lease good = Get(memory.data(), 2 * kPage, kWrite);
  EXPECT_EQ(good.registered(), RangeAt(memory.data(), 2 * kPage));
}

TEST_F(Miss, AnEFAULTLooksAgainAndRetriesOnce) {
  Make();
  const Mapped memory(kPage);
  int calls = 0;
  registrar_->OnRegister([&](Range, Access) {
    return ++calls == 1 ? absl::FailedPreconditionError("EFAULT") : absl::OkStatus();
  });
  Get(memory.data(), 8, kWrite);
  EXPECT_EQ(calls, 2);
  const Mapped bad(kPage);
  registrar_->OnRegister([&](Range, Access) {
    ++calls;
    return absl::FailedPreconditionError("EFAULT");
  });
  calls = 0;
  EXPECT_EQ(cache_->Acquire(bad.data(), 8, kWrite).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(calls, 2);
}

TEST_F(Miss, ARegistrarWithoutKeysIsAnErrorAndIsUndone) {
  class Keyless final : public Registrar {
   public:
    absl::StatusOr<Registration> Register(Range range, Access access) override {
      ++alive;
      return Registration{range, access, {}, 1};
    }
    absl::Status Deregister(Registration&) override {
      --alive;
      return absl::OkStatus();
    }
    RegistrarLimits limits() const override { return {}; }
    int alive = 0;
  };
  const auto keyless = std::make_shared<Keyless>();
  const auto cache = RegistrationCache::Create(keyless, {.monitor = monitor_});
  ASSERT_TRUE(cache.ok());
  const Mapped memory(kPage);
  EXPECT_EQ((*cache)->Acquire(memory.data(), 8, kWrite).status().code(),
            absl::StatusCode::kInternal);
  EXPECT_EQ(keyless->alive, 0);
}

}  // namespace
}  // namespace linchpin::testing
