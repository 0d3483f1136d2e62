// HitPath: acquire and release without a lock, for regions that are live and need no counting under
// the mutex. What it cannot do it leaves to CacheCore, by saying no.
//
// In the steady state it writes no line that another thread writes or reads, takes no lock, and
// executes no fence and no atomic read-modify-write. docs/concurrency.md, H1 to H8, says why it
// holds; tests/model/spin checks that.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

#include "lib/base/barrier.h"
#include "lib/base/process.h"
#include "lib/base/ticks.h"
#include "lib/cache/columns.h"
#include "lib/cache/hint_index.h"
#include "lib/cache/slab.h"
#include "linchpin/access.h"
#include "linchpin/cache.h"
#include "linchpin/monitor.h"

namespace linchpin::internal {

class HitPath final {
 public:
  // What came of an attempt that takes no lock.
  enum class Outcome : std::uint8_t {
    kDone,     // A lease taken, or given back.
    kUndo,     // Counted, but not served: Undo must follow. The thread is in a section.
    kTell,     // Given back, perhaps the last: LookAfter must follow. The thread is in a section.
    kRefused,  // Nothing has changed.
  };
  struct Taken {
    RegionId id = 0;
    Outcome outcome = Outcome::kRefused;
  };

  HitPath(MemoryMonitor& monitor, Freshness freshness, bool audited = false)
      : HitPath(monitor, freshness, audited, monitor.pace()) {}

  // Of address space, for each region that there may be.
  static constexpr std::size_t kReservedPerRegion =
      Slab::kReservedPerId + HintIndex::kReservedPerId;
  absl::Status Reserve(std::uint64_t regions);

  // Tries to take a lease, if this thread need not look for changes first. kHow: as strict() says.
  template <Freshness kHow>
  Taken TryAcquire(std::uintptr_t start, std::size_t size, Access access) const {
    Column& mine = columns_.MineOrNobodys();
    if (!Fresh(mine, kHow == Freshness::kStrict)) [[unlikely]]
      return {};
    return Take<Gate::kOpen>(mine, hints_.Find(start), {start, size},
                             static_cast<std::uint32_t>(access));
  }

  // The same for a thread that must look, or uses fences, or asks for trusted memory.
  Taken TryAcquireUncommon(std::uintptr_t start, std::size_t size, Access access) const;

  // The same for a thread that has looked.
  Taken TryAcquireSettled(std::uintptr_t start, std::size_t size, Access access) const;

  // Tries to give a lease back.
  Outcome TryRelease(RegionId id) const { return GiveBack<Gate::kOpen>(id); }
  Outcome TryReleaseUncommon(RegionId id) const;

  // Takes back a count that did not become a lease.
  // Returns: whether the region may be dead now. The thread is still in its section.
  bool Undo(Column& mine, RegionId id) const;

  // To be called by a thread on its way to the mutex: makes its next hits possible.
  void Prepare();

  // To be called before a look into the index: returns once the thread may believe it.
  void Settle();
  // To be called besides before a miss, which believes what the monitor knows of a mapping: to
  // trust in an extent that is gone would leave its successor unwatched, whatever the freshness.
  void SettleForMiss();

  bool strict() const { return strict_; }
  // Whether a hit is more than a look at the epoch and a count: it is strict, or audited.
  bool careful() const { return careful_; }
  bool Inherited() const { return ProcessCookie() != process_cookie_; }

  Slab& slab() { return slab_; }
  const Slab& slab() const { return slab_; }
  Columns& columns() { return columns_; }
  const Columns& columns() const { return columns_; }
  HintIndex& hints() { return hints_; }
  const Barrier& barrier() const { return barrier_; }

 private:
  HitPath(MemoryMonitor& monitor, Freshness freshness, bool audited,
          const MemoryMonitor::Pace& pace);

  struct Asked {
    std::uintptr_t start;
    std::size_t size;
  };

  template <Gate kHow>
  Taken Take(Column& mine, RegionId id, Asked asked, std::uint32_t rights) const;
  template <Gate kHow>
  Outcome GiveBack(RegionId id) const;
  Taken TakeAsTheGateSays(Column& mine, RegionId id, Asked asked, std::uint32_t rights) const;
  void SettleFor(Column& mine) const;
  // Whether a thread may believe a record now. Before the load of the record's state; pairs with
  // the monitor's reader. `strict`: as strict().
  bool Fresh(const Column& mine, bool strict) const {
    if (strict && Ticks() - mine.settled_at >= settle_ticks_) return false;
    return epoch_->load(std::memory_order_acquire) % 2 == 0;
  }

  // Whether who lets go of a region in this state tells the cache.
  static bool MustTell(std::uint32_t state) {
    return (state & (record_state::kDoomed | record_state::kCounted)) != 0;
  }

  // Serves only what has no remote right: exact regions are counted under the mutex.
  static constexpr std::uint32_t kServed =
      static_cast<std::uint32_t>(Access::kLocalWrite | Access::kMwBind | Access::kOnDemand |
                                 Access::kRelaxedOrdering) |
      record_state::kTrusted;
  // Of these, what is asked for and what is there must be the same.
  static constexpr std::uint32_t kKind =
      static_cast<std::uint32_t>(Access::kOnDemand | Access::kRelaxedOrdering);

  const std::uint64_t process_cookie_;
  const Barrier barrier_;
  MemoryMonitor& monitor_;
  const std::atomic<std::uint64_t>* const epoch_;
  const bool strict_;  // A thread's look for changes is good for settle_ticks_ only.
  const bool careful_;
  const std::uint64_t settle_ticks_;  // 0: for one acquire.
  Slab slab_;
  HintIndex hints_{slab_};
  Columns columns_{barrier_};
};

// The count comes first, and what the record says after it counts alone: before, the id may have
// been taken back and be another region's now.
template <Gate kHow>
inline HitPath::Taken HitPath::Take(Column& mine, RegionId id, Asked asked,
                                    std::uint32_t rights) const {
  if ((rights & ~kServed) != 0 || id >= mine.ids.load(std::memory_order_relaxed) ||
      !columns_.Enter<kHow>(mine)) [[unlikely]] {
    return {};
  }
  AddAlone(mine.counts[id].acquired, std::memory_order_relaxed);
  Columns::Light<kHow>();  // Pairs with the flush: it sees the count, or we its doom.
  const Record& record = slab_.record(id);
  const std::uint32_t wanted = rights | record_state::kLive;
  const std::uint32_t state = record.state.load(std::memory_order_acquire) & (wanted | kKind);
  std::uintptr_t last = 0;  // The offset of the last byte. For length 0 it wraps, or is huge.
  if (state != wanted ||
      __builtin_add_overflow(asked.start - record.start.load(std::memory_order_relaxed),
                             asked.size - 1, &last) ||
      last >= record.size.load(std::memory_order_relaxed)) [[unlikely]] {
    return {id, Outcome::kUndo};
  }
  AddAlone(mine.hits, std::memory_order_relaxed);
  Columns::Leave(mine);
  return {id, Outcome::kDone};
}

// Of a region that is counted under the mutex too: there this count, or the tally's, may be the
// last.
template <Gate kHow>
inline HitPath::Outcome HitPath::GiveBack(RegionId id) const {
  Column& mine = columns_.MineOrNobodys();
  if (id >= mine.ids.load(std::memory_order_relaxed) || !columns_.Enter<kHow>(mine)) [[unlikely]] {
    return Outcome::kRefused;
  }
  AddAlone(mine.counts[id].released, std::memory_order_release);
  Columns::Light<kHow>();  // Pairs with the flush: it sees the count, or we its doom.
  if (MustTell(slab_.record(id).state.load(std::memory_order_acquire))) [[unlikely]] {
    return Outcome::kTell;
  }
  Columns::Leave(mine);
  return Outcome::kDone;
}

}  // namespace linchpin::internal
