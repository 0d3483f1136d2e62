// The one pair of the hit path that nothing but the barrier orders, by itself: a hit counts itself
// with a plain store and then loads the record's state; a removal stores the state and then loads
// the count. Without a barrier both may load what was there before, because each one's store still
// lies in its processor's buffer: the remover frees what the other one has just acquired.
//
// A stress of the cache passes without the barrier. This does not, where two processors really run
// at once: it shows that the barrier is needed, and that it is enough.
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "lib/base/barrier.h"

namespace linchpin::testing {
namespace {

using std::chrono::steady_clock;

constexpr std::uint32_t kRounds = 20'000;  // Of one batch.
constexpr std::uint32_t kLive = 0;
constexpr std::uint32_t kDoomed = 1;

// What one round is about, each word on a cache line of its own as in the column and the record.
struct Round {
  alignas(64) std::atomic<std::uint32_t> acquired = 0;
  alignas(64) std::atomic<std::uint32_t> state = kLive;
  alignas(64) bool hit = false;    // What the acquirer took itself to have, and
  alignas(64) bool freed = false;  // what the remover did.
};

// Where the two threads wait for each other, so that each round begins on both at once.
class Meeting final {
 public:
  void Arrive(std::atomic<std::uint32_t>& mine, const std::atomic<std::uint32_t>& others,
              std::uint32_t round) {
    mine.store(round, std::memory_order_release);
    for (int spins = 0; others.load(std::memory_order_acquire) < round; ++spins) {
      if (spins > 2000) sched_yield();  // The other one has no processor.
    }
  }

  alignas(64) std::atomic<std::uint32_t> acquirer = 0;
  alignas(64) std::atomic<std::uint32_t> remover = 0;
};

struct WithBarrier {
  void Light() const { barrier.Light(); }
  void Heavy() const { barrier.Heavy(); }
  Barrier barrier;
};

struct WithoutBarrier {  // But the compiler keeps the order.
  static void Light() { std::atomic_signal_fence(std::memory_order_seq_cst); }
  static void Heavy() { std::atomic_signal_fence(std::memory_order_seq_cst); }
};

// Both have both words in their caches when they meet: then a load is fast, and a store lies in the
// buffer until the other cache has let go of the line. As with a hot record, and as bad as can be.
void Touch(const std::atomic<std::uint32_t>& word) {
  static_cast<void>(word.load(std::memory_order_relaxed));
}

template <typename Fences>
void AcquireEach(std::vector<Round>& rounds, Meeting& meeting, const Fences& fences) {
  std::uint32_t number = 0;
  for (Round& round : rounds) {
    Touch(round.state);
    meeting.Arrive(meeting.acquirer, meeting.remover, ++number);
    round.acquired.store(1, std::memory_order_relaxed);
    fences.Light();
    round.hit = round.state.load(std::memory_order_acquire) == kLive;
  }
}

template <typename Fences>
void RemoveEach(std::vector<Round>& rounds, Meeting& meeting, const Fences& fences) {
  std::uint32_t number = 0;
  for (Round& round : rounds) {
    Touch(round.acquired);
    meeting.Arrive(meeting.remover, meeting.acquirer, ++number);
    round.state.store(kDoomed, std::memory_order_relaxed);
    fences.Heavy();
    round.freed = round.acquired.load(std::memory_order_acquire) == 0;
  }
}

struct Counts {
  std::uint64_t rounds = 0;
  std::uint64_t premature = 0;  // Freed although acquired.
  std::uint64_t hits = 0;
  std::uint64_t freed = 0;
};

// Goes on for `at_least`, and then until something was freed too early or `at_most` is over.
template <typename Fences>
Counts RunFor(steady_clock::duration at_least, steady_clock::duration at_most) {
  const Fences fences{};
  Counts counts;
  const auto start = steady_clock::now();
  for (auto spent = start - start; spent < at_least || (counts.premature == 0 && spent < at_most);
       spent = steady_clock::now() - start) {
    std::vector<Round> rounds(kRounds);
    Meeting meeting;
    std::thread acquirer([&] { AcquireEach(rounds, meeting, fences); });
    RemoveEach(rounds, meeting, fences);
    acquirer.join();
    for (const Round& round : rounds) {
      ++counts.rounds;
      counts.hits += round.hit ? 1 : 0;
      counts.freed += round.freed ? 1 : 0;
      counts.premature += round.hit && round.freed ? 1 : 0;
    }
  }
  return counts;
}

void Print(const char* what, const Counts& counts) {
  std::printf("%s: %llu premature frees in %llu rounds, %llu hits, %llu freed\n", what,
              static_cast<unsigned long long>(counts.premature),
              static_cast<unsigned long long>(counts.rounds),
              static_cast<unsigned long long>(counts.hits),
              static_cast<unsigned long long>(counts.freed));
}

int Processors() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

class RaceLitmus : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef __SANITIZE_THREAD__
    GTEST_SKIP() << "ThreadSanitizer orders each atomic operation and sees no barrier";
#endif
  }
  void TearDown() override {
    Barrier::RefuseForTest(false);
  }
};

TEST_F(RaceLitmus, NothingIsFreedTooEarlyWithTheBarrier) {
  const Counts counts = RunFor<WithBarrier>(std::chrono::seconds(1), std::chrono::seconds(1));
  Print(Barrier().asymmetric() ? "membarrier" : "fences, for want of membarrier", counts);
  EXPECT_EQ(counts.premature, 0u);
}

TEST_F(RaceLitmus, NothingIsFreedTooEarlyWithFencesInPlaceOfMembarrier) {
  Barrier::RefuseForTest(true);
  const Counts counts = RunFor<WithBarrier>(std::chrono::seconds(1), std::chrono::seconds(1));
  Print("fences", counts);
  EXPECT_EQ(counts.premature, 0u);
}

TEST_F(RaceLitmus, WithoutTheBarrierMuchIsFreedTooEarly) {
  const Counts counts = RunFor<WithoutBarrier>(std::chrono::seconds(1), std::chrono::seconds(30));
  Print("no barrier", counts);
  if (Processors() < 2 && counts.premature == 0) {
    GTEST_SKIP() << "one processor sees its own stores in order: nothing is shown here";
  }
  EXPECT_GT(counts.premature, 0u) << "then the tests with the barrier prove nothing";
}

}  // namespace
}  // namespace linchpin::testing
