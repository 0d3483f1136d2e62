#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "linchpin/access.h"
#include "linchpin/monitor.h"
#include "linchpin/pin_file.h"
#include "linchpin/range.h"
#include "linchpin/registrar.h"

namespace linchpin {

enum class Mode : std::uint8_t {
  kOn,
  kOff,  // Registers for each lease and keeps nothing: the meaning of kOn, none of its speed.
};

enum class Freshness : std::uint8_t {
  kStrict,        // No Acquire that begins after an unmap began sees the old region.
  kSynchronised,  // The same, for threads that synchronise with the one that unmapped. Another
                  // thread that is given the same address by the kernel in the microseconds before
                  // the monitor has heard of the unmapping may hit the old region.
};

enum class Unwatched : std::uint8_t {
  kDrop,   // What no monitor can watch is registered for each lease, and not kept past it.
  kTrust,  // The application calls Invalidate itself before such memory changes.
};

enum class IdleRemote : std::uint8_t {
  kDeregister,  // A remote key dies with its last lease.
  kKeep,        // Peers are trusted: registrations with remote rights are kept when idle.
};

// Which pages of a request are looked at on each hit: whether the frames behind them are those that
// were registered. For tests, and for programs that suspect a stale registration. Needs
// CAP_SYS_ADMIN; without, one line is logged and nothing is compared. Costs a hit 1 us for one
// page, 2 us for the ends of a longer request, 8 us for all of 1 MiB, and 8 bytes for each page
// registered.
enum class Audit : std::uint8_t {
  kDefault,  // What the environment variable LINCHPIN_AUDIT says: none, ends or all. Unset: none.
  kNone,
  kEnds,  // The first and the last.
  kAll,
};

// A hit that would have let the device reach a wrong page: the mapping changed, and the monitor did
// not say so. What is on demand, or was not there when it was registered, is not compared; nor is
// memory of a file whose page is not in the page table now.
struct AuditFinding {
  Range asked;                   // The request.
  Range page;                    // Its first page whose frame differs.
  std::uint64_t frame_then = 0;  // What the device reaches: the frame when it was registered.
  std::uint64_t frame_now = 0;   // What is mapped. 0: nothing.
  Range registered;              // What the registration covers.
  std::string device;            // Registrar::name().
};

struct CacheOptions {
  Mode mode = Mode::kOn;
  Freshness freshness = Freshness::kStrict;
  Unwatched unwatched = Unwatched::kDrop;
  IdleRemote idle_remote = IdleRemote::kDeregister;
  // Bytes kept registered without a lease. 0: half of what RLIMIT_MEMLOCK leaves, or, where the
  // process is exempt or unlimited, half of the machine's or cgroup's memory.
  std::uint64_t max_idle_bytes = 0;
  std::uint64_t max_held_bytes = 0;  // Bytes under lease. 0: what the kernel allows.
  std::uint64_t max_regions = 0;     // 0: a quarter of what the device allows.
  // Overlapping requests are registered together in regions that may grow past them: the share of
  // such a region that may lie outside the hull of the requests it was made for, from 0 to below 1.
  double max_union_waste = 0.5;
  std::shared_ptr<MemoryMonitor> monitor = nullptr;  // Null: MemoryMonitor::Shared().
  Audit audit = Audit::kDefault;
  // Called for each finding, on the thread that found it, with no lock held: it may use the cache.
  // By then what is registered there serves no one any more, and the Acquire goes on as a miss. The
  // first finding of a cache is logged besides.
  std::function<void(const AuditFinding&)> on_audit = nullptr;
};

// A snapshot of a cache's counters; each is explained in docs/stats.md. Bytes are bytes registered.
struct CacheStats {
  std::uint64_t hits = 0;
  std::uint64_t locked_hits = 0;  // Of these, under a mutex: docs/stats.md says when.
  std::uint64_t misses = 0;
  std::uint64_t registrations = 0;
  std::uint64_t deregistrations = 0;
  std::uint64_t invalidations = 0;  // Regions taken out because their mapping changed.
  std::uint64_t evictions = 0;      // Regions taken out to make room.
  std::uint64_t retries = 0;   // Registrations made again because the mapping changed meanwhile.
  std::uint64_t failures = 0;  // Acquires that returned an error.
  std::uint64_t regions = 0;   // Registered now, in whatever state but leaked.
  std::uint64_t bytes = 0;
  std::uint64_t idle_bytes = 0;      // Without a lease, kept for the next.
  std::uint64_t held_bytes = 0;      // Under one lease or more.
  std::uint64_t deferred_bytes = 0;  // Waiting for the reaper.
  std::uint64_t leases = 0;
  std::uint64_t stale_regions = 0;  // Held, but out of the cache.
  std::uint64_t stale_bytes = 0;    // Theirs: of held_bytes.
  std::uint64_t leaked = 0;         // Registrations whose deregistration failed.
  std::uint64_t revocations = 0;    // Leases taken back although held, with their PinFile.
  std::uint64_t unwatched = 0;      // Registrations not kept, because nothing watches their memory.
  std::uint64_t reap_lag_us_max = 0;  // The longest that a dead region has waited for the reaper.
  std::uint64_t audits = 0;           // Hits whose frames were compared.
  std::uint64_t audit_findings = 0;   // Of these, wrong pages that the monitor had not told of.
  std::uint64_t unaudited = 0;        // Registrations whose frames could not be read for it.
};

enum class LeaseState : std::uint8_t {
  kValid,
  kStale,  // Its mapping changed: the device still has the old pages. After several changes of one
           // region, so are the leases on what lies between them.
  kRevoked,  // Taken back although held.
};

namespace internal {
class CacheCore;
class LeaseParts;

// The halves of a hit, called in the library; what goes around them is inlined, so that a compiler
// sees through the StatusOr<Lease>. TryAcquire returns the number of the region that the caller now
// has a lease on, or 0 if that takes the long way.
std::uint32_t TryAcquire(CacheCore& core, const void* address, std::size_t length, Access access);
void Release(CacheCore& core, std::uint32_t region) noexcept;
}  // namespace internal

// A holder's claim on registered memory. Move-only; gives the claim back on destruction, from any
// thread, without waiting and without ever deregistering on that thread. A lease may outlive its
// cache. A default-constructed or moved-from lease claims nothing; only assignment and destruction
// may be called on it.
//
// Thread-safety: const calls may be made at once from any threads.
class Lease final {
 public:
  Lease() = default;
  Lease(Lease&& other) noexcept
      : core_(std::exchange(other.core_, nullptr)), region_(other.region_), range_(other.range_) {}
  Lease& operator=(Lease&& other) noexcept;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    if (core_ != nullptr) internal::Release(*core_, region_);
  }

  std::size_t devices() const;  // Of the registrar: each has its keys.
  // The keys of the registrar's `device`. Requires: `device` < devices().
  std::uint32_t lkey(std::size_t device = 0) const;
  std::uint32_t rkey(std::size_t device = 0) const;

  Range range() const { return range_; }  // What was asked for.
  Range registered() const;               // What the MR covers.
  Access access() const;                  // What the MR allows: at least what was asked for.
  LeaseState state() const;
  bool cached() const;   // Whether the registration is kept for others after this lease.
  bool revoked() const;  // Whether its PinFile took it back: the keys may be dead.

  // Notes that the device has written to `written`, as far as it lies in range(), for
  // PinFile::Sync. Of a lease without an owner, or that was revoked, nothing is noted: the
  // kernel marks what it unpins.
  void MarkDirty(Range written);

  explicit operator bool() const { return core_ != nullptr; }

 private:
  friend class RegistrationCache;
  friend class internal::CacheCore;
  friend class internal::LeaseParts;  // The C ABI keeps a lease as two words.
  Lease(internal::CacheCore* core, std::uint32_t region, Range range)
      : core_(core), region_(region), range_(range) {}

  internal::CacheCore* core_ = nullptr;  // Alive while a lease is out. Null: claims nothing.
  std::uint32_t region_ = 0;             // The region's number in there.
  Range range_;
};

// A cache of memory registrations: bounded, and true under every change of the address space that
// its monitor can see. What it cannot see it does not keep.
//
// A request is served by a region that contains it, with at least its rights, and with the same
// ordering and on-demand-ness. Regions without remote rights are whole pages and may be larger than
// the request; regions with remote rights are exactly the bytes and rights asked for.
//
// Thread-safety: all calls may be made at once from any threads. After fork, the cache is inert in
// the child: Acquire is FailedPrecondition, and destruction touches no device.
class RegistrationCache final {
 public:
  // Returns: the cache; InvalidArgument for a null registrar or options that contradict each
  // other; ResourceExhausted or Unavailable when the reaper's thread cannot be made. A monitor that
  // watches nothing is no error: nothing is then kept idle unless trusted.
  static absl::StatusOr<std::unique_ptr<RegistrationCache>> Create(
      std::shared_ptr<Registrar> registrar, CacheOptions options = {});

  // Never aborts and never waits for leases: with leases out, no new ones are given, and each
  // region is deregistered on its last release, on a thread of the library's. To know when the
  // registrar is not used any more, Close first.
  ~RegistrationCache();
  RegistrationCache(const RegistrationCache&) = delete;
  RegistrationCache& operator=(const RegistrationCache&) = delete;

  // Returns: a lease on memory registered for at least `access`. On error the cache holds what it
  // held before, less what was evicted for want of room:
  //   InvalidArgument     null, length 0, wrap-around, unknown or contradictory rights, or longer
  //                       than one region of the device can be
  //   FailedPrecondition  the memory is not there or not with these rights (EFAULT); the cache is
  //                       closed; a forked child's copy of a cache
  //   ResourceExhausted   no room, although every idle region has been evicted
  //   Aborted             the mapping changed during each of 4 registrations, or an audit found it
  //                       changed each time
  //   otherwise           what the registrar said
  absl::StatusOr<Lease> Acquire(const void* address, std::size_t length, Access access);

  // The same for pins whose life is bounded by `owner` (null: as above). When the owner's life
  // ends, a registration that only it claims is deregistered although held, and so is every one
  // with remote rights, which is the owner's alone; a local one that others claim too stays for
  // them. Memory of the file that the owner's guard keeps from shrinking is kept like memory that
  // is watched in full. Takes the cache's mutex, and room for one region more. Returns: as above,
  // and FailedPrecondition when the owner's life has ended, saying why.
  absl::StatusOr<Lease> Acquire(const void* address, std::size_t length, Access access,
                                const std::shared_ptr<PinFile>& owner);

  // Acquires each of `ranges`, which may overlap or be equal, for `access`: with one freshness
  // check for all, the hits first and then the misses one after another. All or nothing. Returns:
  // the leases in the order of `ranges`, none for none; otherwise the error of the first range that
  // failed, as from Acquire, and every lease taken so far has been given back. What was registered
  // for them may stay in the cache, idle.
  absl::StatusOr<std::vector<Lease>> AcquireMany(std::span<const Range> ranges, Access access);

  // No later Acquire sees what was registered in the range; leases on it turn stale. Cannot fail.
  // For changes that the kernel tells nobody of: see docs/decisions/0001-guard-regions.md.
  void Invalidate(const void* address, std::size_t length);

  // Invalidate, and when it returns OK all registrations of the range have been deregistered, those
  // that were in flight too. Returns: DeadlineExceeded when leases still hold some; Internal when
  // one could not be deregistered, so that the device may still reach it.
  absl::Status Fence(const void* address, std::size_t length, absl::Duration timeout);

  // Deregisters idle regions, least recently used first, until at most `bytes_to_keep` are idle.
  // Returns: the idle bytes left.
  std::size_t Trim(std::size_t bytes_to_keep);

  // Waits for every lease, then deregisters everything. Acquire goes on working.
  // Returns: DeadlineExceeded, naming the holders, when leases are still out; nothing is lost then.
  absl::Status Drain(absl::Duration timeout);

  // Drain, and no Acquire works afterwards. Returns: FailedPrecondition, naming the holders, when
  // leases are still out after `timeout`; the cache then works on as before.
  absl::Status Close(absl::Duration timeout);

  // The longest range that one lease can be for, in bytes.
  std::uint64_t max_region_bytes() const;

  // Where to cut `range`, if it must be acquired in pieces, so that no page is registered twice:
  // how far one region serves it for `access` from its start on, or, if none does, where the first
  // begins that would. range.end when that lies behind it, or there is none. A hint: regions come
  // and go. Requires: a range that is not empty.
  std::uintptr_t NextBorder(const Range& range, Access access) const;

  CacheStats stats() const;

  // Aborts if an invariant of the cache does not hold. Takes time in proportion to the regions.
  void CheckInvariantsForTest();

 private:
  explicit RegistrationCache(std::unique_ptr<internal::CacheCore> core);
  absl::StatusOr<Lease> AcquireSlowly(const void* address, std::size_t length, Access access);

  std::unique_ptr<internal::CacheCore> core_;
};

inline absl::StatusOr<Lease> RegistrationCache::Acquire(const void* address, std::size_t length,
                                                        Access access) {
  const std::uint32_t region = internal::TryAcquire(*core_, address, length, access);
  if (region == 0) [[unlikely]]
    return AcquireSlowly(address, length, access);
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  return Lease(core_.get(), region, {start, start + length});
}

}  // namespace linchpin
