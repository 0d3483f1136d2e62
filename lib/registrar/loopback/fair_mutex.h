// FairMutex: a mutex served in the order of asking. A long transfer takes a ring's mutex once a
// chunk and at once again; under an ordinary mutex it would pass the sleeping threads each time,
// and a registration could wait for the whole transfer.
#pragma once

#include <cstdint>

#include "absl/base/thread_annotations.h"

#include "lib/base/mutex.h"

namespace linchpin::loopback {

// Invariant: tickets in [serving_, next_) are held by one owner, the first, and by its waiters.
class ABSL_LOCKABLE FairMutex {
 public:
  // The analysis cannot see that a ticket being served is ownership.
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const MutexLock lock(mutex_);
    const std::uint64_t ticket = next_++;
    while (ticket != serving_) served_.Wait(mutex_);
  }

  void Unlock() ABSL_UNLOCK_FUNCTION() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const MutexLock lock(mutex_);
    ++serving_;
    if (serving_ != next_) served_.NotifyAll();
  }

 private:
  Mutex mutex_;
  CondVar served_;
  std::uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t serving_ ABSL_GUARDED_BY(mutex_) = 0;
};

class ABSL_SCOPED_LOCKABLE FairMutexLock {
 public:
  explicit FairMutexLock(FairMutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~FairMutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  FairMutexLock(const FairMutexLock&) = delete;
  FairMutexLock& operator=(const FairMutexLock&) = delete;

 private:
  FairMutex& mutex_;
};

}  // namespace linchpin::loopback
