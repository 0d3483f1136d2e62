// HitPath: acquire and release without a lock, for regions that are live and need no counting under
// the mutex. What it cannot do it leaves to CacheCore, by saying no.
//
// In the steady state it writes no line that another thread writes or reads, takes no lock, and
// executes no fence and no atomic read-modify-write. docs/concurrency.md, H1 to H7, says why it
// holds; tests/model/spin checks that.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>

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
  // Who is told that the last lease on a region that is doomed may be gone.
  using Doomed = void (*)(void* core, RegionId id);

  HitPath(MemoryMonitor& monitor, Freshness freshness);

  absl::Status Reserve(std::uint64_t regions) { return slab_.Reserve(regions); }

  // Returns: the id of a region that serves the request, with a lease on it; or 0, for whatever
  // reason, and nothing has changed.
  RegionId TryAcquire(std::uintptr_t start, std::size_t size, Access access) {
    Column* const mine = columns_.Mine();
    if (mine == nullptr || Inherited()) return 0;
    const RegionId id = hints_.Find(start);
    const std::uint32_t trusted =
        slab_.record(id).state.load(std::memory_order_relaxed) & record_state::kTrusted;
    if (id == 0 || (trusted == 0 && !Fresh(*mine))) return 0;
    return Take(*mine, id, {start, size}, static_cast<std::uint32_t>(access) | trusted);
  }

  // The same, for a caller that has waited for changes to be told. Requires: not Inherited().
  RegionId TryAcquireSettled(std::uintptr_t start, std::size_t size, Access access) {
    Column* const mine = columns_.Mine();
    const RegionId id = hints_.Find(start);
    if (mine == nullptr || id == 0) return 0;
    return Take(*mine, id, {start, size}, static_cast<std::uint32_t>(access));
  }

  // Gives a lease back.
  // Returns: false when it must be given back under the mutex; nothing has changed then.
  bool TryRelease(RegionId id);

  // To be called by a thread before it looks for changes itself, on its way to the mutex: makes
  // the next hits of this thread possible.
  void Prepare();

  bool Inherited() const { return ProcessCookie() != process_cookie_; }

  Slab& slab() { return slab_; }
  const Slab& slab() const { return slab_; }
  Columns& columns() { return columns_; }
  const Columns& columns() const { return columns_; }
  HintIndex& hints() { return hints_; }
  const Barrier& barrier() const { return barrier_; }

  void set_doomed(Doomed doomed, void* core) {
    doomed_ = doomed;
    core_ = core;
  }

 private:
  struct Asked {
    std::uintptr_t start;
    std::size_t size;
  };

  bool Fresh(Column& mine);
  RegionId Take(Column& mine, RegionId id, Asked asked, std::uint32_t rights);
  bool Settle(Column& mine);
  void Undo(Column& mine, RegionId id);

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
  const std::atomic<std::uint64_t>* const epoch_;  // Null: every acquire settles.
  const std::uint64_t settle_ticks_;               // A look for changes is good for so long.
  Doomed doomed_ = nullptr;
  void* core_ = nullptr;
  Slab slab_;
  HintIndex hints_{slab_};
  Columns columns_{barrier_};
};

// Whether every change that freed memory before has been told, as far as the cache's freshness
// asks. Its loads come before the load of the record's state.
inline bool HitPath::Fresh(Column& mine) {
  if (settle_ticks_ != std::numeric_limits<std::uint64_t>::max() &&
      (settle_ticks_ == 0 || Ticks() - mine.settled_at >= settle_ticks_)) {
    return Settle(mine);
  }
  return epoch_->load(std::memory_order_acquire) % 2 == 0;  // Pairs with the monitor's reader.
}

// The count comes first, and what the record says after it counts alone: before, the id may have
// been taken back and be another region's now.
inline RegionId HitPath::Take(Column& mine, RegionId id, Asked asked, std::uint32_t rights) {
  if ((rights & ~kServed) != 0 || id >= mine.ids.load(std::memory_order_relaxed)) return 0;
  if (!columns_.Enter(mine)) return 0;
  Count& count = mine.counts[id];
  AddAlone(count.acquired, std::memory_order_relaxed);
  barrier_.Light();  // Pairs with the flush: it sees the count, or we its doom.
  const Record& record = slab_.record(id);
  const std::uint32_t state = record.state.load(std::memory_order_acquire);
  const std::uintptr_t offset = asked.start - record.start.load(std::memory_order_relaxed);
  const std::size_t registered = record.size.load(std::memory_order_relaxed);
  const bool served =
      (state & (rights | kKind | record_state::kLive)) == (rights | record_state::kLive) &&
      offset < registered && asked.size - 1 < registered - offset;
  if (!served) {
    Undo(mine, id);
    return 0;
  }
  AddAlone(mine.hits, std::memory_order_relaxed);
  Columns::Leave(mine);
  return id;
}

inline bool HitPath::TryRelease(RegionId id) {
  if (Inherited()) return true;
  Column* const mine = columns_.Mine();
  if (mine == nullptr || id >= mine->ids.load(std::memory_order_relaxed)) return false;
  const Record& record = slab_.record(id);
  constexpr std::uint32_t kUnderMutex = record_state::kDoomed | record_state::kCounted;
  if ((record.state.load(std::memory_order_relaxed) & kUnderMutex) != 0) return false;
  if (!columns_.Enter(*mine)) return false;
  AddAlone(mine->releases, std::memory_order_relaxed);
  AddAlone(mine->counts[id].released, std::memory_order_release);
  barrier_.Light();  // Pairs with the flush: it sees the count, or we its doom.
  if ((record.state.load(std::memory_order_acquire) & record_state::kDoomed) != 0) {
    doomed_(core_, id);
  }
  Columns::Leave(*mine);
  return true;
}

}  // namespace linchpin::internal
