// A leak checker finds what a cache holds: programs end with caches that they never destroy.
#include <vector>

#include "tests/cache/fixture.h"

// There only in a program that checks for leaks. Returns: whether it found any; reports them.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" [[gnu::weak]] int __lsan_do_recoverable_leak_check();

namespace linchpin::testing {
namespace {

class LeakCheck : public CacheFixture {};

TEST_F(LeakCheck, WhatALiveCacheHoldsIsNoLeak) {
  if (__lsan_do_recoverable_leak_check == nullptr) {
    GTEST_SKIP() << "needs a build with the leak sanitizer (preset asan)";
  }
  registrar_->set_devices(2);  // The second one's keys are on the heap, and only a region has them.
  Make();
  constexpr std::size_t kCount = 64;
  const Mapped memory(kCount * kPage);
  std::vector<Lease> leases;
  for (std::size_t i = 0; i < kCount; ++i) {
    leases.push_back(Get(memory.data() + i * kPage, 100, kRemote));
  }
  EXPECT_EQ(__lsan_do_recoverable_leak_check(), 0);
}

}  // namespace
}  // namespace linchpin::testing
