// The promise not to allocate: whose it is, how it nests, and that breaking it aborts.
#include "lib/base/no_allocation.h"

#include <cstddef>
#include <new>
#include <thread>

#include "gtest/gtest.h"

#include "lib/base/mutex.h"

namespace linchpin {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kChecked = false;
#else
constexpr bool kChecked = true;
#endif

constexpr std::size_t kBytes = 16;

TEST(NoAllocation, NestsAndIsTheThreadsOwn) {
  EXPECT_FALSE(NoAllocation::Promised());
  NoAllocation::Enter();
  NoAllocation::Enter();
  NoAllocation::Leave();
  const bool promised = NoAllocation::Promised();
  NoAllocation::Leave();
  EXPECT_TRUE(promised);
  EXPECT_FALSE(NoAllocation::Promised());
}

TEST(NoAllocation, IsNotPromisedByOtherThreads) {
  Mutex mutex;
  Mutex start;
  bool promised = true;
  start.Lock();
  std::thread other([&] {
    const MutexLock lock(start);
    promised = NoAllocation::Promised();
  });
  {
    const NoAllocationLock lock(mutex);
    start.Unlock();
    other.join();
  }
  EXPECT_FALSE(promised);
}

TEST(NoAllocation, LastsAsLongAsTheLock) {
  Mutex mutex;
  bool promised = false;
  {
    const NoAllocationLock lock(mutex);
    promised = NoAllocation::Promised();
  }
  EXPECT_TRUE(promised);
  EXPECT_FALSE(NoAllocation::Promised());
}

TEST(NoAllocationDeathTest, AllocatingUnderTheLockAborts) {
  if (!kChecked) GTEST_SKIP() << "a sanitizer has the allocator";
  Mutex mutex;
  EXPECT_DEATH(
      {
        const NoAllocationLock lock(mutex);
        ::operator delete(::operator new(kBytes));
      },
      "operator new under a mutex");
}

TEST(NoAllocationDeathTest, FreeingUnderTheLockAborts) {
  if (!kChecked) GTEST_SKIP() << "a sanitizer has the allocator";
  Mutex mutex;
  void* memory = ::operator new(kBytes);
  EXPECT_DEATH(
      {
        const NoAllocationLock lock(mutex);
        ::operator delete(memory);
      },
      "operator delete under a mutex");
  ::operator delete(memory);
}

}  // namespace
}  // namespace linchpin
