// Drain sleeps until the last lease is given back, and giving it back takes no lock: whichever
// comes first, Drain has to hear of it. A wake-up that is lost shows as a Drain of 30 s that fails.
#include <atomic>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "gtest/gtest.h"

#include "linchpin/cache.h"
#include "linchpin/monitor.h"
#include "tests/race/poisoning_registrar.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

TEST(DrainRace, ADrainIsWokenByTheLastRelease) {
  constexpr unsigned kRounds = 5000;
  const Mapped memory(kPage);
  const auto registrar = std::make_shared<PoisoningRegistrar>();
  CacheOptions options;
  options.max_idle_bytes = 1 << 20;
  options.monitor = std::make_shared<ManualMonitor>();
  auto cache = RegistrationCache::Create(registrar, options);
  ASSERT_TRUE(cache.ok()) << cache.status();
  Lease lease;  // Of the releaser's from `begun` on, and of this thread's from `released` on.
  std::atomic<unsigned> begun = 0;
  std::atomic<unsigned> released = 0;
  std::thread releaser([&] {
    std::mt19937 random(1);
    for (unsigned round = 1; round <= kRounds; ++round) {
      while (begun < round) std::this_thread::yield();
      for (auto pause = random() % 1000; pause > 0; --pause) static_cast<void>(begun.load());
      lease = Lease();
      released = round;
    }
  });
  for (unsigned round = 1; round <= kRounds && !::testing::Test::HasFailure(); ++round) {
    absl::StatusOr<Lease> got = (*cache)->Acquire(memory.data(), kPage, Access::kLocalWrite);
    if (got.ok()) lease = *std::move(got);
    EXPECT_TRUE(lease) << got.status();
    begun = round;
    const absl::Status drained = (*cache)->Drain(absl::Seconds(30));
    EXPECT_TRUE(drained.ok()) << "round " << round << ": " << drained;
    EXPECT_EQ(registrar->registered(), registrar->deregistered());
    while (released < round) std::this_thread::yield();
  }
  begun = kRounds;  // Also after a failure.
  releaser.join();
  EXPECT_EQ(registrar->registered(), registrar->deregistered());
}

}  // namespace
}  // namespace linchpin::testing
