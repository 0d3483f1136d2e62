// Draining, closing, destroying, failing to deregister, and forking.
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "tests/cache/fixture.h"
#include "tests/testing/threads.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;

class Ending : public CacheFixture {};

TEST_F(Ending, DrainWaitsForLeasesAndDeregistersEverything) {
  Make();
  const Mapped memory(2 * kPage);
  Get(memory.data(), kPage, kWrite);
  Lease held = Get(memory.data() + kPage, kPage, kWrite);
  const absl::Status refused = cache_->Drain(absl::Milliseconds(10));
  EXPECT_EQ(refused.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(refused.message()), HasSubstr(held.registered().ToString()));
  EXPECT_EQ(registrar_->registered_count(), 1u);
  std::thread releasing([lease = std::move(held)]() mutable {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    lease = Lease();
  });
  EXPECT_TRUE(cache_->Drain(absl::InfiniteDuration()).ok());
  releasing.join();
  EXPECT_EQ(registrar_->registered_count(), 0u);
  Get(memory.data(), kPage, kWrite);
}

TEST_F(Ending, CloseNamesTheHoldersAndLosesNothing) {
  Make();
  const Mapped memory(kPage);
  Lease held = Get(memory.data(), 8, kWrite);
  EXPECT_EQ(cache_->Close(absl::ZeroDuration()).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Get(memory.data(), 8, kWrite).lkey(), held.lkey()) << "works on as before";
  held = Lease();
  EXPECT_TRUE(cache_->Close(absl::Seconds(30)).ok());
  const auto refused = cache_->Acquire(memory.data(), 8, kWrite);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("closed"));
}

TEST_F(Ending, ALeaseOutlivesItsCache) {
  Make();
  const Mapped memory(4 * kPage);
  Lease held = Get(memory.data(), kPage, kWrite);
  Get(memory.data() + 2 * kPage, kPage, kWrite);
  cache_.reset();
  EXPECT_TRUE(WaitFor("idle ones gone", [&] { return registrar_->registered_count() == 1; }));
  EXPECT_TRUE(registrar_->IsAlive(held.lkey()));
  EXPECT_EQ(held.state(), LeaseState::kValid);
  monitor_->Changed(RangeAt(memory.data(), kPage));
  EXPECT_EQ(held.state(), LeaseState::kStale);
  held = Lease();
  EXPECT_TRUE(WaitFor("the last gone", [&] { return registrar_->registered_count() == 0; }));
}

TEST_F(Ending, AFailedDeregistrationIsARecordAndIsNotRetried) {
  Make();
  const Mapped memory(kPage);
  registrar_->FailDeregistrations(1);
  Get(memory.data(), 8, kRemote);
  EXPECT_TRUE(WaitFor("leaked", [&] { return cache_->stats().leaked == 1; }));
  EXPECT_EQ(cache_->stats().regions, 0u);
  EXPECT_EQ(cache_->stats().deregistrations, 0u);
  EXPECT_TRUE(cache_->Close(absl::Seconds(30)).ok()) << "a leak keeps no cache from closing";
  cache_.reset();
  ASSERT_EQ(registrar_->registered_count(), 1u);
  Registration left = registrar_->registered()[0];
  EXPECT_TRUE(registrar_->Deregister(left).ok());
}

TEST_F(Ending, AFenceOverALeakIsNoSuccess) {
  Make();
  const Mapped memory(2 * kPage);
  registrar_->FailDeregistrations(1);
  Get(memory.data(), kPage, kWrite);
  EXPECT_EQ(cache_->Fence(memory.data(), kPage, absl::Seconds(30)).code(),
            absl::StatusCode::kInternal);
  EXPECT_TRUE(cache_->Fence(memory.data() + kPage, kPage, absl::Seconds(30)).ok());
  Registration left = registrar_->registered()[0];
  EXPECT_TRUE(registrar_->Deregister(left).ok());
}

TEST_F(Ending, ACloseThatFailsDoesNotReopenWhatAnotherClosed) {
  for (int round = 0; round < 50; ++round) {
    Make();
    const Mapped memory(kPage);
    Lease held = Get(memory.data(), 8, kWrite);
    std::thread impatient([&] { static_cast<void>(cache_->Close(absl::Microseconds(50)).ok()); });
    std::thread releasing([&] { held = Lease(); });
    const absl::Status closed = cache_->Close(absl::Seconds(30));
    impatient.join();
    releasing.join();
    EXPECT_TRUE(closed.ok()) << closed;
    EXPECT_FALSE(cache_->Acquire(memory.data(), 8, kWrite).ok());
  }
}

TEST_F(Ending, ACacheMayEndOnItsOwnReapersThread) {
  // A registrar whose Deregister drops the last reference to the cache.
  class Suicidal final : public Registrar {
   public:
    absl::StatusOr<Registration> Register(Range range, Access access) override {
      return Registration{range, access, {{1, 2}}, 1};
    }
    absl::Status Deregister(Registration&) override {
      cache.reset();
      done = true;
      return absl::OkStatus();
    }
    RegistrarLimits limits() const override { return {}; }
    std::unique_ptr<RegistrationCache> cache;
    std::atomic<bool> done = false;
  };
  const auto suicidal = std::make_shared<Suicidal>();
  auto made = RegistrationCache::Create(suicidal, {.monitor = monitor_});
  ASSERT_TRUE(made.ok());
  suicidal->cache = *std::move(made);
  const Mapped memory(kPage);
  {
    auto lease = suicidal->cache->Acquire(memory.data(), 8, kRemote);
    ASSERT_TRUE(lease.ok());
  }
  EXPECT_TRUE(WaitFor("the cache ended", [&] { return suicidal->done.load(); }));
}

// What a forked child does with the parent's cache: 0 if it is inert.
int UseInherited(std::unique_ptr<RegistrationCache>& cache, const Mapped& memory, Lease& held) {
  if (cache->Acquire(memory.data(), 8, kWrite).status().code() !=
      absl::StatusCode::kFailedPrecondition) {
    return 1;
  }
  cache->Invalidate(memory.data(), kPage);
  if (cache->Trim(0) != 0 || cache->Drain(absl::Seconds(30)).ok()) return 2;
  if (held.state() != LeaseState::kStale) return 3;
  cache.reset();
  held = Lease();
  return 0;
}

void ExpectInertInChild(pid_t child) {
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(Ending, AForkedChildsCacheIsInert) {
  Make();
  const Mapped memory(kPage);
  Lease held = Get(memory.data(), 8, kWrite);
  AwaitSleepOfOtherThreads();
  const pid_t child = fork();
  if (child == 0) _exit(UseInherited(cache_, memory, held));
  ExpectInertInChild(child);
  EXPECT_TRUE(registrar_->IsAlive(held.lkey()));
  EXPECT_EQ(Get(memory.data(), 8, kWrite).lkey(), held.lkey());
}

TEST_F(Ending, AChildOfARawCloneIsInertToo) {
  Make();
  const Mapped memory(kPage);
  Lease held = Get(memory.data(), 8, kWrite);
  AwaitSleepOfOtherThreads();
  const auto child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
  if (child == 0) _exit(UseInherited(cache_, memory, held));
  ExpectInertInChild(child);
  EXPECT_EQ(Get(memory.data(), 8, kWrite).lkey(), held.lkey());
}

}  // namespace
}  // namespace linchpin::testing
