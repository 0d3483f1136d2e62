// ReuseWindow: one thread unmaps; before the monitor has told anyone another is given the same
// address, fills it, and acquires. The threads synchronise by nothing but the kernel.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>

#include "gtest/gtest.h"

#include "linchpin/cache.h"
#include "tests/cache/delayed_monitor.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {

class ReuseWindow final {
 public:
  // Called by the second thread with a lease on what it filled; says whether that is the old.
  using IsOld = std::function<bool(const Lease&)>;

  ReuseWindow(RegistrationCache& cache, DelayedMonitor& monitor)
      : cache_(cache), monitor_(monitor) {}
  ReuseWindow(const ReuseWindow&) = delete;
  ReuseWindow& operator=(const ReuseWindow&) = delete;
  ~ReuseWindow() { munmap(at_ - kPage, 3 * kPage); }

  // Returns: in how many of `rounds` the second thread was given what the first had unmapped.
  int CountOld(int rounds, const IsOld& is_old) {
    int old = 0;
    for (int round = 0; round < rounds && !::testing::Test::HasFailure(); ++round) {
      old += Round(is_old) ? 1 : 0;
      monitor_.Settle();
    }
    return old;
  }

  static constexpr int kOld = 'o';
  static constexpr int kNew = 'n';
  char* at() const { return at_; }
  std::uint32_t old_lkey() const { return old_lkey_; }

 private:
  static char* Reserve() {
    void* const at = mmap(nullptr, 3 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    return static_cast<char*>(at) + kPage;
  }

  bool Round(const IsOld& is_old) {
    monitor_.BeginUnmapping();  // What the last round has left there.
    void* const mapped =
        mmap(at_, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (mapped != at_) std::abort();
    monitor_.EndUnmapping(*Range::Of(at_, kPage));
    std::memset(at_, kOld, kPage);
    const auto old = cache_.Acquire(at_, kPage, Access::kLocalWrite);
    EXPECT_TRUE(old.ok()) << old.status();
    if (!old.ok()) return false;
    old_lkey_ = old->lkey();
    bool served_old = false;
    std::atomic<bool> warm = false;
    std::thread second([&] {
      const bool mapped_again = MapAgain(warm);
      EXPECT_TRUE(mapped_again) << "the address was never free";
      if (!mapped_again) return;
      const auto lease = cache_.Acquire(at_, kPage, Access::kLocalWrite);
      EXPECT_TRUE(lease.ok()) << lease.status();
      served_old = lease.ok() && is_old(*lease);
    });
    while (!warm) std::this_thread::yield();
    monitor_.BeginUnmapping();
    munmap(at_, kPage);
    const auto start = reinterpret_cast<std::uintptr_t>(at_);
    monitor_.EndUnmapping({start, start + kPage});
    second.join();
    return served_old;
  }

  // Hits something else all the while, so that its last look is as new as can be when it is given
  // the address.
  bool MapAgain(std::atomic<bool>& warm) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < deadline) {
      for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(cache_.Acquire(else_.data(), kPage, Access::kLocalWrite).ok());
      warm = true;
      void* const at = mmap(at_, kPage, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
      if (at == MAP_FAILED) continue;
      std::memset(at_, kNew, kPage);
      return true;
    }
    return false;
  }

  RegistrationCache& cache_;
  DelayedMonitor& monitor_;
  char* const at_ = Reserve();  // A page; those beside it keep all else away from it.
  const Mapped else_{kPage};
  std::uint32_t old_lkey_ = 0;
};

}  // namespace linchpin::testing
