// CacheCore: the one object behind a RegistrationCache and its leases.
//
//   acquire.cc     hits, and the loop around misses; acquire_many.cc for many ranges at once
//   audit.cc       whether a hit has the pages that it should
//   miss.cc        one attempt to register: publish, watch, register, recheck
//   land.cc        its end: Live, or buried
//   invalidate.cc  what the monitor's reader calls
//   exact.cc       when leases are counted exactly: folding, and what follows from a release
//   limbo.cc       regions taken out of which it is not known yet whether someone holds them
//   evict.cc       limits and the clock
//   reap.cc        deregistration, on the reaper's thread or one that waits for it
//   lifecycle.cc   making, trimming, draining, closing, ending
#pragma once

#include <atomic>
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

#include "lib/base/everywhere.h"
#include "lib/base/mutex.h"
#include "lib/base/thread.h"
#include "lib/cache/auditor.h"
#include "lib/cache/hit_path.h"
#include "lib/cache/region.h"
#include "lib/cache/region_index.h"
#include "lib/memory/limits.h"
#include "lib/pin/ledger.h"
#include "lib/pin/pin_file_core.h"
#include "linchpin/cache.h"

namespace linchpin::internal {

using Clock = std::chrono::steady_clock;
using RegionList =
    boost::intrusive::list<Region,
                           boost::intrusive::member_hook<Region, Region::ListHook, &Region::list>>;

using OwnedList = boost::intrusive::list<
    RegionExtras,
    boost::intrusive::member_hook<RegionExtras, RegionExtras::Hook, &RegionExtras::owned>,
    boost::intrusive::constant_time_size<false>>;

// More than this, dead and not yet deregistered, makes a miss lend the reaper a hand.
inline constexpr std::uint64_t kMaxDeferredBytes = 64 << 20;
inline constexpr std::size_t kMaxDeferredRegions = 256;

// Regions in limbo wait for so many or so long, to share one heavy barrier.
inline constexpr std::size_t kLimboBatch = 64;
inline constexpr std::chrono::milliseconds kLimboTime(2);
// For so long after its last work the reaper looks every kLimboTime whether there is more.
inline constexpr std::chrono::milliseconds kWakefulTime(10);

// A cache that gave up idle regions to keep within its limit counts exactly for so long after.
inline constexpr std::chrono::milliseconds kPressureTime(10);

// A request, checked.
struct Request {
  Range range;
  Access access = Access::kLocalRead;
  bool exact = false;
  std::shared_ptr<PinFileCore> file = nullptr;  // Whose it will be; null for nobody's.

  // A registration with remote rights is its owner's alone: found and shared by nobody.
  bool IsItsOwnersAlone() const { return exact && file != nullptr; }
};

// What a miss has learnt from its attempts so far.
struct Attempts {
  int collisions = 0;
  std::uint64_t landings = 0;  // As many as there were at the last look into the index.
  bool look_again = false;     // The next attempt takes a fresh look at the mapping.
  bool looked_again = false;   // It did.
  bool no_union = false;       // The union was refused, or collided; the request alone may not.
  bool is_union = false;       // The attempt under way registers more than the request's pages.
  std::uint64_t alone = 0;     // No region of the kind overlaps the plan while landings_ is that.
  bool lent = false;           // The reaper was lent a hand.
  std::uint64_t reaped_before = 0;  // Regions reaped when the attempt under way was published.
  int rooms = 0;                    // How often room was made for one more region.
  std::shared_ptr<Flight> flight;   // To wait on, if nobody has made one: not made under the mutex.
  const PinFileCore* file = nullptr;  // The request's.
  ExtrasChain extras;                 // A link with a claim on it, for the region.
  ExtrasChain own;                    // And one for the lease, if that is to be a claim.
  bool guarded = false;               // The file's guard covers the memory.
  LedgerEntry listed = 0;             // Of what was registered last.
  std::uint64_t device = 0;           // Of the file behind the memory, and its inode.
  std::uint64_t inode = 0;
  bool private_pages = false;  // Only the process itself can take the memory's pages away.
  Region* region = nullptr;    // Being registered.
};

// For a forked child that uses its parent's cache.
absl::Status InheritedError();

class CacheCore final : public MemoryMonitor::Listener, public PinFileClient {
 public:
  static absl::StatusOr<std::unique_ptr<CacheCore>> Create(std::shared_ptr<Registrar> registrar,
                                                           CacheOptions options);
  ~CacheCore() override;
  CacheCore(const CacheCore&) = delete;
  CacheCore& operator=(const CacheCore&) = delete;

  // Returns: the region that the caller now has a lease on, or 0 if it must Acquire.
  RegionId TryAcquire(std::uintptr_t start, std::size_t size, Access access) {
    if (hits_.careful()) [[unlikely]]
      return TryAcquireCarefully(start, size, access);
    return TryAcquireAs<Freshness::kSynchronised>(start, size, access);
  }
  void Release(RegionId id) noexcept {
    const HitPath::Outcome outcome = hits_.TryRelease(id);
    if (outcome != HitPath::Outcome::kDone) [[unlikely]]
      ReleaseUncommon(id, outcome);
  }
  absl::StatusOr<Lease> Acquire(const void* address, std::size_t length, Access access);
  absl::StatusOr<Lease> Acquire(const void* address, std::size_t length, Access access,
                                const PinFile& owner);
  absl::StatusOr<std::vector<Lease>> AcquireMany(std::span<const Range> ranges, Access access);
  void Invalidate(const Range& range);  // By the application, for want of an event.
  absl::Status Fence(const Range& range, Clock::time_point deadline);
  std::size_t Trim(std::size_t bytes_to_keep);
  absl::Status Drain(Clock::time_point deadline);
  absl::Status Close(Clock::time_point deadline);
  CacheStats stats();
  std::uint64_t max_region_bytes() const { return limits_.max_region_bytes; }
  std::uintptr_t NextBorder(const Range& range, Access access);

  // For who holds a lease on the region.
  std::size_t DevicesOf(RegionId id) const;
  RegistrationKeys KeysOf(RegionId id, std::size_t device) const;
  Range RegisteredOf(RegionId id) const;
  Access AccessOf(RegionId id) const { return hits_.slab().held(id).access; }
  bool IsKept(RegionId id) const;
  LeaseState StateOf(RegionId id, const Range& range) const;
  bool IsRevoked(RegionId id) const;
  void MarkDirty(RegionId id, const Range& written);

  void OnChanged(Range range) override;

  void OnClosing(const PinFileCore& file) override;
  void OnRevoke(const PinFileCore& file) override;
  void OnSync(const PinFileCore& file, std::vector<Range>& held) override;
  std::uint64_t Held(const PinFileCore& file) override;

  // Ends the core when the cache goes: at once, or, with leases out, on the last release.
  static void End(std::unique_ptr<CacheCore> core);

  // Aborts if an invariant of the index, the lists or the sums does not hold. Slow.
  void CheckInvariantsForTest();

 private:
  enum class Verdict : std::uint8_t {
    kPublished,
    kTooManyRegions,
    kTooManyBytes,
    kClosed,
    kNoIds,     // The slab must grow.
    kBehind,    // The reaper needs a hand first.
    kPressure,  // More may be idle than the limit allows: leases must be counted exactly.
  };

  // How the reaper sleeps.
  enum class Rest : std::uint8_t {
    kNone,   // Not at all, or it was called.
    kShort,  // It looks after limbo and graves by itself, in kLimboTime at most.
    kLong,   // Until it is called, or is to look at the ledger.
  };

  CacheCore(std::shared_ptr<Registrar> registrar, CacheOptions options, const MemoryLimits& memory);

  // lifecycle.cc
  static void Abandon(std::unique_ptr<CacheCore> core);
  void GiveMemoryBack();

  // acquire.cc
  bool Inherited() const { return hits_.Inherited(); }  // By a forked child.
  template <Freshness kHow>
  RegionId TryAcquireAs(std::uintptr_t start, std::size_t size, Access access) {
    const HitPath::Taken taken = hits_.TryAcquire<kHow>(start, size, access);
    if (taken.outcome == HitPath::Outcome::kDone) [[likely]]
      return taken.id;
    return TryAcquireUncommon(start, size, access, taken);
  }
  // Not inlined: what is neither strict nor audited pays one comparison for both.
  RegionId TryAcquireCarefully(std::uintptr_t start, std::size_t size, Access access);
  RegionId TryAcquireUncommon(std::uintptr_t start, std::size_t size, Access access,
                              HitPath::Taken taken);
  bool Finish(HitPath::Taken taken);
  void ReleaseUncommon(RegionId id, HitPath::Outcome outcome) noexcept;
  void LookAfter(RegionId id);
  absl::StatusOr<Request> Check(const void* address, std::size_t length, Access access) const;
  absl::StatusOr<Lease> AcquireChecked(const Request& request, Attempts& attempts);
  absl::StatusOr<Lease> Miss(const Request& request, Attempts& attempts);
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
  void ReleaseLocked(RegionId id) noexcept;

  // audit.cc
  RegionId TryAcquireAudited(std::uintptr_t start, std::size_t size, Access access);
  Lease Audited(Lease lease);
  bool TakeOutMissed(const Region& region, const Range& asked);
  ExtrasChain FirstLink(const Registration& registration, const Attempts& attempts) const;
  bool IsUnaudited(const Region& region) const;
  static bool IsPinned(const Region& region) { return !Any(region.access & Access::kOnDemand); }

  // owned.cc
  absl::Status BeginOwned(const Request& request, Attempts& attempts);
  absl::Status EndedError(const Request& request);
  absl::StatusOr<Lease> MakeClaim(const Request& request, Lease base, ExtrasChain own);
  bool GrowSlab();
  ExtrasChain CopyOtherKeys(RegionId id) const;
  void PublishClaimLocked(Region& claim, ExtrasChain& keys, ExtrasChain& own)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void OwnLocked(Region& region, ExtrasChain link) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndLinkLocked(ExtrasChain link) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndClaimLocked(Region& claim) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static ExtrasChain DetachOwn(Region& claim);
  void GiveBaseBackLocked(ExtrasChain link) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RevokeClaimLocked(Region& claim) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RevokeExactLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool RetireUnheldLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LeaveToHoldersLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SpendLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsIdleLocked(const Region& region) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return region.state == RegionState::kLive && !region.retiring && LeasesOnLocked(region) == 0;
  }
  // Calls visit(link) for each link that names the file; visit may take the link out.
  template <typename Visit>
  void ForEachOwnedLocked(const PinFileCore& file, Visit visit)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (auto at = owned_.begin(); at != owned_.end();) {
      RegionExtras& link = *at++;
      if (link.claim.file() == &file) visit(link);
    }
  }
  bool FreeSpent();
  void EndLinks();

  // publish.cc
  void List(const Request& request, Attempts& attempts, const Region& region);
  Clock::time_point NextLookLocked(Clock::time_point now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LookAtLedger();
  void PublishLeases();

  // exact.cc. While leases are counted exactly, nobody hits without the mutex and the tally alone
  // says how many leases there are.
  class Exactly;      // While it lives.
  void EnterExact();  // Waits for those who are hitting, so requires: no lock is held.
  void LeaveExact() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void KeepExactUnderPressure();
  void RelievePressureLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FoldLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::uint32_t LeasesOnLocked(const Region& region) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountFastLocked(CacheStats& stats) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LookAfterLocked(RegionId id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AccountLocked(Region& region, Account account) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::uint64_t& BytesOfLocked(Account account) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // limbo.cc
  // Returns once every region that was in limbo is Stale or Dead. Requires: no lock is held.
  void FlushLimbo();
  void LeaveLimboLocked(Region& region, Clock::time_point now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // miss.cc. An attempt returns a region held for the caller, null for "try again", or an error.
  absl::StatusOr<Region*> Attempt(const Request& request, Attempts& attempts);
  absl::StatusOr<Region*> Join(const Range& pages, Access access, Flight& flight);
  bool FindFlyingLocked(const Request& request, const Range& pages, Attempts& attempts,
                        std::shared_ptr<Flight>& flight) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RegionUse UseOf(const Request& request, const WatchedExtent& extent, bool guarded) const;
  Verdict PublishLocked(const Request& request, const WatchedExtent& extent, Attempts& attempts)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Region*> NotPublished(const Request& request, Verdict verdict, Attempts& attempts);
  void KeepLocked(Region& region, const Registration& registration)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ShowLocked(const Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void MarkCollided(Region& region);
  bool StillAsPlanned(const Region& region, const WatchedExtent& extent);
  absl::StatusOr<Registration> RegisterWithRoom(const Request& request, Attempts& attempts);
  absl::StatusOr<Region*> Land(Attempts& attempts, absl::StatusOr<Registration> registration,
                               const absl::Status& final_status);
  void GoLiveLocked(Region& region, bool alone) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // invalidate.cc
  void ChangedInLocked(const Range& range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ChangedLocked(Region& region, const Range& range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void UnkeepLocked(const Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountStaleLocked(const Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ++stats_.stale_regions;
    stats_.stale_bytes += region.range.size();
  }
  void UncountStaleLocked(const Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    --stats_.stale_regions;
    stats_.stale_bytes -= region.range.size();
  }
  void RetireLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BuryLocked(Region& region, Clock::time_point now = Clock::now())
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool GoneLocked(const Range& range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // evict.cc
  std::uint64_t EvictOneLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // The bytes; 0 for none.
  void EvictToLocked(std::uint64_t idle_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MakeRoom(std::uint64_t bytes, std::uint64_t reaped_before, bool count_dead);
  bool EmptyLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stats_.regions == 0 && outlived_ == 0;
  }
  std::uint64_t reaped() const;  // How many regions have been, so far.
  std::uint64_t ReapedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stats_.deregistrations + stats_.leaked;
  }
  absl::Status NoRoom(const Range& range, const std::string& reason);
  absl::Status NoRoomExplained(const Range& range, const std::string& reason);
  std::string Holders();  // What leases hold, the largest regions named, as a sentence.

  // reap.cc
  void Reaper();
  bool LimboIsDueLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CallReaperLocked(std::size_t waiting) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RestLocked(Rest rest, Clock::time_point until) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool WaitForWorkLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Region* TakeDeadLocked(const Range& range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  struct Reaped {
    bool done = false;   // The device let go of it.
    ExtrasChain extras;  // What the region had and needs no more.
  };
  Reaped DeregisterDead(Region& dead);
  void EndReaping(Region& region, Reaped reaped);
  void EndReapingLocked(Region& region, Reaped reaped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndDeregisteredLocked(Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Deregisters the oldest dead region that overlaps `range`, on this thread. False if there is
  // none.
  bool ReapOne(const Range& range);
  void ReapAll(Clock::time_point deadline);
  Registration RegistrationOf(const Region& region) const;
  bool BehindLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stats_.deferred_bytes > kMaxDeferredBytes || graves_.size() > kMaxDeferredRegions;
  }
  void LendAHand();

  const std::shared_ptr<Registrar> registrar_;
  const CacheOptions options_;
  const std::shared_ptr<MemoryMonitor> monitor_;
  const RegistrarLimits limits_;
  const std::string device_;  // Its name.
  Ledger& ledger_;
  LedgerEntry counters_ = 0;  // In there. Constant once the cache is made.
  const std::uint64_t max_idle_bytes_;
  std::uint64_t max_regions_;     // Constant once the cache is made.
  std::uint64_t max_claims_ = 0;  // The same. What outlived_ may come to by claims.

  Auditor auditor_;
  HitPath hits_;

  // Protects everything below, and the regions' fields. The monitor's reader takes it, so its
  // holders do not allocate, free, map, log, wait on a system call, or call the registrar, the
  // monitor or the user. It is the last mutex that anyone takes.
  mutable Mutex mutex_;
  // For the reaper: a grave was dug, limbo is full, or the end has come.
  CondVar work_;
  // For those who wait: a region was reaped, a lease given back, a flight landed.
  CondVar changed_;

  Mutex growing_;  // Held while the slab grows. The reader never takes it.

  RegionIndex index_ ABSL_GUARDED_BY(mutex_);
  RegionList clock_ ABSL_GUARDED_BY(mutex_);        // Live and kept; the hand is at the front.
  RegionList limbo_ ABSL_GUARDED_BY(mutex_);        // Live and retiring, oldest first.
  std::size_t doomed_ ABSL_GUARDED_BY(mutex_) = 0;  // Out of limbo, in the hands of FlushLimbo.
  RegionList graves_ ABSL_GUARDED_BY(mutex_);       // Dead: to be deregistered, oldest first.
  RegionList reaping_ ABSL_GUARDED_BY(mutex_);      // Dead: being so, with the mutex released.
  RegionList leaked_ ABSL_GUARDED_BY(mutex_);       // Leaked: kept as a record, never tried again.
  RegionList spent_ ABSL_GUARDED_BY(mutex_);        // Dead with nothing to deregister: to be freed.
  OwnedList owned_ ABSL_GUARDED_BY(mutex_);         // All that belongs to a PinFile.
  ExtrasChain over_ ABSL_GUARDED_BY(mutex_);        // Links that the reaper is to end.
  std::size_t freeing_ ABSL_GUARDED_BY(mutex_) = 0;  // Taken from spent_, and not free yet.
  int syncing_ ABSL_GUARDED_BY(mutex_) = 0;          // Calls of OnSync, whose core must not go.
  // Claims, what is or was Husk, and what was revoked, leaked and is still held: regions in the
  // slab that stats_.regions does not count.
  std::uint64_t outlived_ ABSL_GUARDED_BY(mutex_) = 0;

  // bytes = idle_bytes + held_bytes + deferred_bytes + flying_bytes_, each the sum over the regions
  // of that account. A Live region whose columns are all zero is held if its tally is not zero;
  // one with other columns is what it was when they were folded last. Hits are without those that
  // the columns count; leases are not counted here.
  CacheStats stats_ ABSL_GUARDED_BY(mutex_);
  Rest rest_ ABSL_GUARDED_BY(mutex_) = Rest::kNone;
  // Of regions that are kept, Live or flying. While leases are not counted exactly, at most
  // max_idle_bytes_; so that no more than that can be idle.
  std::uint64_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // How many changes OnChanged was told of. Written under the mutex.
  std::atomic<std::uint64_t> told_ = 0;
  std::uint64_t landings_ ABSL_GUARDED_BY(mutex_) = 1;      // Regions that went Live, and 1.
  std::uint64_t flying_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // Published, and not landed yet.
  // Leases are counted exactly while exact_users_ > 0 and the columns have been folded.
  int exact_users_ ABSL_GUARDED_BY(mutex_) = 0;
  bool exact_ ABSL_GUARDED_BY(mutex_) = false;
  bool pressure_ ABSL_GUARDED_BY(mutex_) = false;      // One of exact_users_, ended by the reaper.
  Clock::time_point pressed_ ABSL_GUARDED_BY(mutex_);  // When there was pressure last.
  Clock::time_point limbo_due_ ABSL_GUARDED_BY(mutex_);  // When limbo_ is to be flushed.
  int closers_ ABSL_GUARDED_BY(mutex_) = 0;              // Calls of Close under way.
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;          // No new leases, for good.
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;  // The cache is gone; nothing is kept any more.
  Clock::time_point looked_ ABSL_GUARDED_BY(mutex_);         // At the ledger, by the reaper.
  Clock::time_point watched_until_ ABSL_GUARDED_BY(mutex_);  // A reader is there until then.
  bool orphaned_ ABSL_GUARDED_BY(mutex_) = false;  // The reaper deletes the core when it ends.

  Thread reaper_;
  CacheCore* next_abandoned_ = nullptr;
};

class CacheCore::Exactly final {
 public:
  explicit Exactly(CacheCore& core) : core_(core) { core_.EnterExact(); }
  ~Exactly() {
    const NoAllocationLock lock(core_.mutex_);
    core_.LeaveExact();
  }
  Exactly(const Exactly&) = delete;
  Exactly& operator=(const Exactly&) = delete;

 private:
  CacheCore& core_;
};

}  // namespace linchpin::internal
