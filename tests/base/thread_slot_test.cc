// Who has which slot, and until when.
#include "lib/base/thread_slot.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <latch>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin {
namespace {

// The slots of so many threads that all live at once.
std::vector<int> SlotsOf(int threads) {
  std::vector<int> slots(static_cast<std::size_t>(threads));
  std::latch claimed(threads);
  std::vector<std::thread> living;
  living.reserve(slots.size());
  for (int& slot : slots) {
    living.emplace_back([&] {
      slot = ThreadSlot::Claim();
      if (ThreadSlot::Current() != slot || ThreadSlot::Claim() != slot) slot = ThreadSlot::kNone;
      claimed.arrive_and_wait();
    });
  }
  for (std::thread& thread : living) thread.join();
  return slots;
}

int SlotOfANewThread() {
  int slot = ThreadSlot::kNone;
  std::thread([&] { slot = ThreadSlot::Claim(); }).join();
  return slot;
}

TEST(ThreadSlot, IsNoneUntilItIsClaimed) {
  int before = 1;
  int after = 0;
  std::thread([&] {
    before = ThreadSlot::Current();
    ThreadSlot::Claim();
    after = ThreadSlot::Current();
  }).join();
  EXPECT_EQ(before, ThreadSlot::kNone);
  EXPECT_GT(after, 0);
}

TEST(ThreadSlot, IsUniqueAmongTheLiving) {
  constexpr int kThreads = 1024;
  const std::vector<int> slots = SlotsOf(kThreads);
  const std::set<int> different(slots.begin(), slots.end());
  EXPECT_EQ(different.size(), slots.size());
  EXPECT_GT(*different.begin(), 0);
  EXPECT_LT(*different.rbegin(), ThreadSlot::kEnd);
  EXPECT_GT(ThreadSlot::Bound(), *different.rbegin());
  std::printf("1024 threads: slots %d to %d\n", *different.begin(), *different.rbegin());
}

TEST(ThreadSlot, IsUsedAgainWhenItsThreadHasEnded) {
  const int first = SlotOfANewThread();
  const int bound = ThreadSlot::Bound();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(SlotOfANewThread(), first) << "the lowest that is free";
  EXPECT_EQ(ThreadSlot::Bound(), bound);
}

TEST(ThreadSlot, IsBelowTheBoundAtOnce) {
  std::vector<int> slots(64);
  std::atomic<bool> below = true;
  std::latch claimed(static_cast<std::ptrdiff_t>(slots.size()));
  std::vector<std::thread> living;
  for (int& slot : slots) {
    living.emplace_back([&] {
      slot = ThreadSlot::Claim();
      if (slot >= ThreadSlot::Bound()) below = false;
      claimed.arrive_and_wait();
    });
  }
  for (std::thread& thread : living) thread.join();
  EXPECT_TRUE(below);
  EXPECT_GT(ThreadSlot::Bound(), *std::max_element(slots.begin(), slots.end()));
}

// What a thread's slot is when its thread_local objects are destroyed, or the values of its keys.
struct Seen {
  int claimed = 0;
  int current = 0;

  void Look() {
    claimed = ThreadSlot::Claim();
    current = ThreadSlot::Current();
  }
};

struct Witness {
  ~Witness() {
    if (seen != nullptr) seen->Look();
  }
  Seen* seen = nullptr;
};

// A key whose destructor looks. One that is made later is destroyed later.
class LookingKey final {
 public:
  LookingKey() {
    EXPECT_EQ(pthread_key_create(&key_, [](void* seen) { static_cast<Seen*>(seen)->Look(); }), 0);
  }
  LookingKey(const LookingKey&) = delete;
  LookingKey& operator=(const LookingKey&) = delete;
  ~LookingKey() { pthread_key_delete(key_); }

  void Set(Seen& seen) const { EXPECT_EQ(pthread_setspecific(key_, &seen), 0); }

 private:
  pthread_key_t key_{};
};

TEST(ThreadSlot, IsThereForThreadLocalsAndGoneForLaterKeys) {
  ThreadSlot::Claim();  // Makes the slots' own key, if nobody has.
  const LookingKey later;
  int slot = 0;
  Seen by_object;
  Seen by_key;
  std::thread([&] {
    static thread_local Witness witness;
    witness.seen = &by_object;  // Before it claims: destroyed after all others.
    slot = ThreadSlot::Claim();
    later.Set(by_key);
  }).join();
  EXPECT_EQ(by_object.claimed, slot);
  EXPECT_EQ(by_object.current, slot);
  EXPECT_EQ(by_key.claimed, ThreadSlot::kGone);
  EXPECT_EQ(by_key.current, ThreadSlot::kGone);
  EXPECT_EQ(SlotOfANewThread(), slot) << "and the next thread has it";
}

TEST(ThreadSlot, IsGivenBackAlsoByAThreadThatClaimsItAsItEnds) {
  const int first = SlotOfANewThread();
  const LookingKey key;
  for (int i = 0; i < 100; ++i) {
    Seen seen;
    std::thread([&] { key.Set(seen); }).join();
    EXPECT_EQ(seen.claimed, first);
  }
  EXPECT_EQ(SlotOfANewThread(), first);
}

// ThreadSanitizer knows how: what the last owner wrote happens before the next one's claim.
TEST(ThreadSlot, PassesOnWhatItsLastOwnerWrote) {
  static std::vector<int> written(ThreadSlot::kEnd);  // Not atomic.
  constexpr int kThreads = 4;
  constexpr int kLives = 500;
  std::vector<int> before = written;
  std::vector<std::thread> places;
  for (int i = 0; i < kThreads; ++i) {
    places.emplace_back([] {
      for (int life = 0; life < kLives; ++life) {
        std::thread([] { ++written[static_cast<std::size_t>(ThreadSlot::Claim())]; }).join();
      }
    });
  }
  for (std::thread& place : places) place.join();
  int sum = 0;
  for (const int count : written) sum += count;
  EXPECT_EQ(sum, kThreads * kLives);
}

}  // namespace
}  // namespace linchpin
