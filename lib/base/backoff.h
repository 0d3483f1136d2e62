// Backoff: waiting for another thread that is about to be done, without a lock or a condition.
#pragma once

#include <sched.h>

#include <algorithm>
#include <ctime>

namespace linchpin {

// Yields at first, for a thread that only has to run; then sleeps, for one that the scheduler does
// not run because of us (a real-time caller), from 1 us up to 1/4 ms.
class Backoff final {
 public:
  void Pause() {
    constexpr int kYields = 32;
    constexpr int kDoublings = 8;
    ++count_;
    if (count_ <= kYields) {
      sched_yield();
      return;
    }
    const timespec pause{0, 1000L << std::min(count_ - kYields, kDoublings)};
    nanosleep(&pause, nullptr);
  }

 private:
  int count_ = 0;
};

}  // namespace linchpin
