// Deregistration by those who must wait for it: which of the dead they wait for, and which not.
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

class Reaping : public CacheFixture {
 protected:
  // Whether `call` ends within 30 s. If not, `give_up` makes it end.
  static bool Ends(const char* what, const std::function<void()>& call,
                   const std::function<void()>& give_up) {
    std::atomic<bool> over = false;
    std::thread calling([&] {
      call();
      over = true;
    });
    const bool in_time = WaitFor(what, [&] { return over.load(); });
    if (!in_time) give_up();
    calling.join();
    return in_time;
  }
};

// For each region that is deregistered, another thread makes several dead ones, so there is no
// moment at which no grave is left.
TEST_F(Reaping, TrimAndFenceEndThoughOthersBuryAllTheTime) {
  static thread_local bool buries = false;
  Make();
  const Mapped memory(kPage);
  const Mapped others(kPage);
  std::atomic<std::uint64_t> buried = 0;
  std::atomic<bool> stop = false;
  registrar_->OnDeregister([&](Range) {
    const std::uint64_t before = buried;
    while (!buries && !stop && buried < before + 8) std::this_thread::yield();
  });
  std::thread burying([&] {
    buries = true;
    for (; !stop; ++buried) static_cast<void>(cache_->Acquire(others.data(), 8, kRemote).ok());
  });
  const auto give_up = [&] { stop = true; };
  EXPECT_TRUE(WaitFor("burials", [&] { return buried > 100; }));
  EXPECT_TRUE(Ends(
      "Trim", [&] { cache_->Trim(0); }, give_up));
  Get(memory.data(), kPage, kWrite);
  absl::Status fenced;
  EXPECT_TRUE(Ends(
      "Fence", [&] { fenced = cache_->Fence(memory.data(), kPage, absl::Minutes(10)); }, give_up));
  EXPECT_TRUE(fenced.ok()) << fenced;
  EXPECT_FALSE(stop) << "others still buried";
  stop = true;
  burying.join();
  EXPECT_TRUE(cache_->Drain(absl::Seconds(30)).ok());
}

// The reaper is kept busy until the thread that fences is at its own region; then that one lets
// another die, and goes on when the reaper is at that.
TEST_F(Reaping, AFenceWaitsForNothingThatDiedAfterItsOwn) {
  Make();
  const Mapped memory(3 * kPage);
  char* const earlier = memory.data();
  char* const own = memory.data() + kPage;
  char* const later = memory.data() + 2 * kPage;
  Get(own, kPage, kWrite);
  Lease held = Get(later, 8, kRemote);
  const std::uint32_t lkey = held.lkey();
  std::atomic<bool> earlier_begun = false;
  std::atomic<bool> own_begun = false;
  std::atomic<bool> later_begun = false;
  std::atomic<bool> go = false;
  const auto await = [&go](const std::atomic<bool>& flag) {
    while (!flag && !go) std::this_thread::yield();
  };
  registrar_->OnDeregister([&](Range range) {
    if (range.start == RangeAt(earlier, 8).start) {
      earlier_begun = true;
      await(own_begun);
    } else if (range.start == RangeAt(own, 8).start) {
      held = Lease();
      own_begun = true;
      await(later_begun);
    } else {
      later_begun = true;
      await(go);
    }
  });
  Get(earlier, 8, kRemote);
  EXPECT_TRUE(WaitFor("the reaper busy", [&] { return earlier_begun.load(); }));
  absl::Status fenced;
  EXPECT_TRUE(Ends(
      "Fence", [&] { fenced = cache_->Fence(own, kPage, absl::Minutes(10)); }, [&] { go = true; }));
  EXPECT_TRUE(fenced.ok()) << fenced;
  EXPECT_TRUE(later_begun);
  EXPECT_TRUE(registrar_->IsAlive(lkey)) << "waited for what died later";
  go = true;
  EXPECT_TRUE(WaitFor("the later one gone", [&] { return !registrar_->IsAlive(lkey); }));
}

// However quick the others before were.
TEST_F(Reaping, AFenceDoesNotWaitForAnotherRegionThatIsSlowToDeregister) {
  constexpr std::size_t kRegions = 64;
  Make();
  const Mapped memory(2 * kRegions * kPage);
  const auto region = [&](std::size_t i) { return memory.data() + 2 * i * kPage; };
  const auto remove = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) Get(region(i), kPage, kWrite);
    return cache_->Fence(memory.data(), memory.size(), absl::Seconds(30));
  };
  ASSERT_TRUE(remove(kRegions).ok());
  std::atomic<bool> begun = false;
  std::atomic<bool> go = false;
  registrar_->OnDeregister([&](Range range) {
    if (range.start != RangeAt(region(0), kPage).start) return;
    begun = true;
    while (!go) std::this_thread::yield();
  });
  Get(region(0), kPage, kWrite);
  Get(region(1), kPage, kWrite);
  cache_->Invalidate(memory.data(), memory.size());
  EXPECT_TRUE(WaitFor("the reaper at the first", [&] { return begun.load(); }));
  EXPECT_TRUE(cache_->Fence(region(1), kPage, absl::Seconds(30)).ok());
  go = true;
  EXPECT_TRUE(WaitFor("both gone", [&] { return registrar_->registered_count() == 0; }));
}

TEST_F(Reaping, AFenceWaitsForADeregistrationThatIsUnderWay) {
  Make();
  const Mapped memory(kPage);
  const std::uint32_t lkey = Get(memory.data(), kPage, kWrite).lkey();
  std::atomic<bool> begun = false;
  std::atomic<bool> go = false;
  registrar_->OnDeregister([&](Range) {
    begun = true;
    while (!go) std::this_thread::yield();
  });
  cache_->Invalidate(memory.data(), kPage);
  EXPECT_TRUE(WaitFor("the reaper at it", [&] { return begun.load(); }));
  EXPECT_EQ(cache_->Fence(memory.data(), kPage, absl::Milliseconds(10)).code(),
            absl::StatusCode::kDeadlineExceeded);
  std::thread opening([&] { go = true; });
  EXPECT_TRUE(cache_->Fence(memory.data(), kPage, absl::Minutes(10)).ok());
  EXPECT_FALSE(registrar_->IsAlive(lkey));
  opening.join();
}

}  // namespace
}  // namespace linchpin::testing
