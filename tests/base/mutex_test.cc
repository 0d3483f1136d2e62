// Mutexes exclude, conditions wake, and deadlines pass.
#include "lib/base/mutex.h"

#include <chrono>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin {
namespace {

using std::chrono::steady_clock;

struct Guarded {
  Mutex mutex;
  CondVar changed;
  int value ABSL_GUARDED_BY(mutex) = 0;
};

TEST(Mutex, Excludes) {
  Guarded guarded;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&guarded] {
      for (int round = 0; round < 1000; ++round) {
        const MutexLock lock(guarded.mutex);
        ++guarded.value;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const MutexLock lock(guarded.mutex);
  EXPECT_EQ(guarded.value, 4000);
}

TEST(CondVar, WakesAWaiter) {
  Guarded guarded;
  std::thread waiter([&guarded] {
    const MutexLock lock(guarded.mutex);
    while (guarded.value != 1) guarded.changed.Wait(guarded.mutex);
    guarded.value = 2;
    guarded.changed.NotifyAll();
  });
  {
    const MutexLock lock(guarded.mutex);
    guarded.value = 1;
    guarded.changed.NotifyAll();
    while (guarded.value != 2) guarded.changed.Wait(guarded.mutex);
  }
  waiter.join();
}

TEST(CondVar, SaysThatTheDeadlinePassed) {
  Guarded guarded;
  const MutexLock lock(guarded.mutex);
  const auto deadline = steady_clock::now() + std::chrono::milliseconds(1);
  while (guarded.changed.WaitUntil(guarded.mutex, deadline)) {
  }
  EXPECT_GE(steady_clock::now(), deadline);
}

}  // namespace
}  // namespace linchpin
