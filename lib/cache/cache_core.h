// CacheCore: the one object behind a RegistrationCache and its leases.
//
//   acquire.cc     hits, and the loop around misses; acquire_many.cc for many ranges at once
//   miss.cc        one attempt to register: publish, watch, register, recheck
//   invalidate.cc  what the monitor's reader calls
//   evict.cc       limits and the clock
//   reap.cc        deregistration, on the reaper's thread or one that waits for it
//   lifecycle.cc   making, trimming, draining, closing, ending
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "boost/intrusive/list.hpp"

#include "lib/base/mutex.h"
#include "lib/base/thread.h"
#include "lib/cache/region.h"
#include "lib/cache/region_index.h"
#include "linchpin/cache.h"

namespace linchpin::internal {

using Clock = std::chrono::steady_clock;
using RegionList =
    boost::intrusive::list<Region,
                           boost::intrusive::member_hook<Region, Region::ListHook, &Region::list>>;

// More than this, dead and not yet deregistered, makes a miss lend the reaper a hand.
inline constexpr std::uint64_t kMaxDeferredBytes = 64 << 20;
inline constexpr std::size_t kMaxDeferredRegions = 256;

// A request, checked.
struct Request {
  Range range;
  Access access = Access::kLocalRead;
  bool exact = false;
};

// What a miss has learnt from its attempts so far.
struct Attempts {
  int collisions = 0;
  bool look_again = false;         // The next attempt takes a fresh look at the mapping.
  bool looked_again = false;       // It did.
  bool no_union = false;           // The union was refused, or collided; the request alone may not.
  bool is_union = false;           // The attempt under way registers more than the request's pages.
  int rooms = 0;                   // How often room was made for one more region.
  std::unique_ptr<Region> region;  // Being registered; allocated with no lock held.
};

class CacheCore final : public MemoryMonitor::Listener {
 public:
  static absl::StatusOr<std::unique_ptr<CacheCore>> Create(std::shared_ptr<Registrar> registrar,
                                                           CacheOptions options);
  ~CacheCore() override;
  CacheCore(const CacheCore&) = delete;
  CacheCore& operator=(const CacheCore&) = delete;

  absl::StatusOr<Lease> Acquire(const void* address, std::size_t length, Access access);
  absl::StatusOr<std::vector<Lease>> AcquireMany(std::span<const Range> ranges, Access access);
  void Release(Region& region) noexcept;
  void Invalidate(const Range& range);  // By the application, for want of an event.
  absl::Status Fence(const Range& range, Clock::time_point deadline);
  std::size_t Trim(std::size_t bytes_to_keep);
  absl::Status Drain(Clock::time_point deadline);
  absl::Status Close(Clock::time_point deadline);
  CacheStats stats() const;
  LeaseState StateOf(const Region& region, const Range& range) const;

  void OnChanged(Range range) override;

  // Ends the core when the cache goes: at once, or, with leases out, on the last release.
  static void End(std::unique_ptr<CacheCore> core);
  static void Abandon(std::unique_ptr<CacheCore> core);

  // Aborts if an invariant of the index, the lists or the sums does not hold. Slow.
  void CheckInvariantsForTest();

 private:
  enum class Verdict : std::uint8_t { kPublished, kTooManyRegions, kTooManyBytes, kClosed };

  CacheCore(std::shared_ptr<Registrar> registrar, CacheOptions options);

  // acquire.cc
  bool Inherited() const;  // This process is a forked child of the one that made the cache.
  absl::StatusOr<Request> Check(const void* address, std::size_t length, Access access) const;
  absl::StatusOr<Lease> Miss(const Request& request);
  bool RefusesLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closed_ || closers_ > 0;
  }
  // Whether `bytes` more under lease would be too many.
  bool OverHeldLocked(std::uint64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return options_.max_held_bytes != 0 &&
           stats_.held_bytes + flying_bytes_ + bytes > options_.max_held_bytes;
  }
  Region* FindLocked(const Request& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void TakeLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountFailure();

  // miss.cc. An attempt returns a region held for the caller, null for "try again", or an error.
  absl::StatusOr<Region*> Attempt(const Request& request, Attempts& attempts);
  absl::StatusOr<Region*> Join(const Range& pages, Access access, Flight& flight);
  std::shared_ptr<Flight> FindFlightLocked(const Request& request, const Range& pages)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Verdict PublishLocked(const Request& request, const WatchedExtent& extent, Attempts& attempts)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Region*> NotPublished(const Request& request, Verdict verdict,
                                       std::uint64_t reaped_before, Attempts& attempts);
  void MarkCollided(Region& region);
  bool StillAsPlanned(const Region& region, const WatchedExtent& extent);
  absl::StatusOr<Registration> RegisterWithRoom(const Region& region, bool is_union);
  absl::StatusOr<Region*> Land(Attempts& attempts, absl::StatusOr<Registration> registration,
                               const absl::Status& final_status);
  void GoLiveLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // invalidate.cc
  void ChangedLocked(Region& region, const Range& range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RetireLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BuryLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool GoneLocked(const Range& range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // evict.cc
  std::uint64_t EvictOneLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // The bytes; 0 for none.
  void EvictToLocked(std::uint64_t idle_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MakeRoom(std::uint64_t bytes, std::uint64_t reaped_before, bool count_dead);
  std::uint64_t reaped() const;  // How many regions have been, so far.
  absl::Status NoRoom(const Range& range, const std::string& reason);
  std::string Holders();  // What leases hold, the largest regions named, as a sentence.

  // reap.cc
  void Reaper();
  bool ReapOne();  // Deregisters one dead region on this thread. False when there was none.
  void ReapAll(Clock::time_point deadline);
  void LendAHand();

  const std::shared_ptr<Registrar> registrar_;
  const CacheOptions options_;
  const std::shared_ptr<MemoryMonitor> monitor_;
  const RegistrarLimits limits_;
  const std::uint64_t process_cookie_;
  const std::uint64_t max_idle_bytes_;
  const std::uint64_t max_regions_;

  // Protects everything below, and the regions' fields. The monitor's reader takes it, so its
  // holders do not allocate, free, map, log, wait on a system call, or call the registrar, the
  // monitor or the user. It is the last mutex that anyone takes.
  mutable Mutex mutex_;
  CondVar work_;  // For the reaper: a grave was dug, or the end has come.
  CondVar
      changed_;  // For those who wait: a region was reaped, a lease given back, a flight landed.

  RegionIndex index_ ABSL_GUARDED_BY(mutex_);
  RegionList clock_ ABSL_GUARDED_BY(mutex_);   // Live, kept, idle; hand: the front.
  RegionList graves_ ABSL_GUARDED_BY(mutex_);  // Dead: to be deregistered, oldest first.
  RegionList reaping_
      ABSL_GUARDED_BY(mutex_);                 // Dead: being deregistered, with the mutex released.
  RegionList leaked_ ABSL_GUARDED_BY(mutex_);  // Leaked: kept as a record, never tried again.

  // bytes = idle_bytes + held_bytes + deferred_bytes + flying_bytes_.
  // idle_bytes: of Live regions without a holder.
  CacheStats stats_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t burials_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t flying_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // Published, and not landed yet.
  int closers_ ABSL_GUARDED_BY(mutex_) = 0;                 // Calls of Close under way.
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;             // No new leases, for good.
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;    // The cache is gone; nothing is kept any more.
  bool orphaned_ ABSL_GUARDED_BY(mutex_) = false;  // The reaper deletes the core when it ends.

  Thread reaper_;
  CacheCore* next_abandoned_ = nullptr;
};

}  // namespace linchpin::internal
