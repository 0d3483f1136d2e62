// OfProcess: one T for each process, made when it is first asked for. A forked child makes its own:
// a mutex in the one that it inherits may be held for ever.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "lib/base/process.h"

namespace linchpin {

// To be declared constinit, with static storage. T needs a default constructor.
//
// Thread-safety: any thread, at any time. Two threads that ask first at once may both make one, and
// one of these is destroyed unused.
template <typename T>
class OfProcess final {
 public:
  constexpr OfProcess() = default;
  OfProcess(const OfProcess&) = delete;
  OfProcess& operator=(const OfProcess&) = delete;
  ~OfProcess() = default;  // What it made stays, for threads that outlive it.

  T& Get() {
    Made* newest = newest_.load(std::memory_order_acquire);
    while (newest == nullptr || newest->cookie != ProcessCookie()) {
      auto made = std::make_unique<Made>();
      made->cookie = ProcessCookie();
      made->inherited = newest;
      if (newest_.compare_exchange_strong(newest, made.get(), std::memory_order_acq_rel)) {
        newest = made.release();
      }
    }
    return newest->one;
  }

 private:
  struct Made {
    std::uint64_t cookie = 0;
    Made* inherited = nullptr;  // The parent's, kept reachable.
    T one;
  };

  std::atomic<Made*> newest_{nullptr};
};

}  // namespace linchpin
