// Columns: who counts leases without a lock. Each thread has a column of its own in each cache that
// it uses, an array of two counters for each region, which it alone writes:
//
//   leases on region i  =  tally(i) + sum over columns of acquired(i) - released(i)     (mod 2^32)
//
// A lease counts as released in the column of the thread that releases it. The column of a thread
// that ended, what it holds included, is the next one's to claim the slot.
//
// The owner writes counters only inside a section, between Enter and Leave. Once the gate has been
// closed and AwaitQuiet has returned, nobody is in a section and nobody gets in until the gate is
// opened: then, and only then, may others write the columns.
//
// The kernel zeroes the columns, though not their counts, in a forked child: no thread has one
// there.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "lib/base/barrier.h"
#include "lib/base/mutex.h"
#include "lib/base/sparse_map.h"
#include "lib/base/thread_slot.h"
#include "lib/cache/region.h"

namespace linchpin::internal {

struct Count {
  std::atomic<std::uint32_t> acquired;
  std::atomic<std::uint32_t> released;
};

// Adds 1 to what only the calling thread writes, for others to read: no read-modify-write in the
// sense of C++. On x86 one instruction, so that a signal handler cannot come in between.
// Thread sanitizer does not see into that one.
template <typename T>
void AddAlone(std::atomic<T>& counter, std::memory_order order) {
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
  std::atomic_signal_fence(order);
  if constexpr (sizeof(T) == sizeof(std::uint32_t)) {
    asm("incl %0" : "+m"(counter) : : "memory");
  } else {
    asm("incq %0" : "+m"(counter) : : "memory");
  }
#else
  counter.store(counter.load(std::memory_order_relaxed) + 1, order);
#endif
}

// Valid when all zero, and then nobody's.
struct alignas(64) Column {
  std::atomic<std::uint32_t> inside;  // 1 in a section.
  std::atomic<RegionId> ids;          // There are counts for the ids below this.
  Count* counts;                      // Does not move.
  std::uint64_t settled_at;           // In ticks; the owner's alone.
  std::atomic<std::uint64_t> hits;
  SparseMap* map;  // Of the counts.
};

// How a section may be entered.
enum class Gate : std::uint32_t {
  kClosed = 0,  // Not at all.
  kOpen = 1,    // With the light side of membarrier, which binds the compiler alone.
  kFenced = 2,  // With fences, because the kernel refuses membarrier.
};

class Columns final {
 public:
  explicit Columns(const Barrier& barrier);
  ~Columns() = default;
  Columns(const Columns&) = delete;
  Columns& operator=(const Columns&) = delete;

  // To be called once, before all else. Returns: ResourceExhausted when there is no address space.
  absl::Status Reserve();

  // The calling thread's column, or, if it has none yet, one that has counts for no id. Without a
  // branch: slots that are none have an entry too.
  Column& MineOrNobodys() const { return columns_[ThreadSlot::Current()]; }

  // The calling thread's column, or null if it has none yet.
  Column* Mine() const {
    Column& mine = MineOrNobodys();
    return mine.ids.load(std::memory_order_relaxed) == 0 ? nullptr : &mine;
  }

  // The same, made if need be and opened for the ids below `ids`, of which there can be `capacity`.
  // Returns: null in a thread that is ending, for the thread after kEnd others, and when the kernel
  // gives no memory: that thread counts in the tally then.
  // Requires: no lock is held.
  Column* Attach(RegionId ids, std::uint64_t capacity);

  // Returns: what all columns together count for `id`, mod 2^32. At least the true count if no
  // lease on it can be acquired any more, which takes a Heavy() since it was marked so.
  std::uint32_t Sum(RegionId id) const;

  // Calls visit(column) for each column.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (int slot = 1; slot < ThreadSlot::Bound(); ++slot) {
      if (columns_[slot].ids.load(std::memory_order_acquire) != 0) visit(columns_[slot]);
    }
  }

  // Whether the owner may count now, with kOpen's or kFenced's barriers, as the gate says.
  template <Gate kHow>
  bool Enter(Column& mine) const {
    mine.inside.store(1, std::memory_order_relaxed);
    Light<kHow>();  // Pairs with AwaitQuiet.
    if (gate_.load(std::memory_order_acquire) == kHow) [[likely]]
      return true;
    Leave(mine);
    return false;
  }
  static void Leave(Column& mine) { mine.inside.store(0, std::memory_order_release); }

  // The light side of a barrier.
  template <Gate kHow>
  static void Light() {
    if constexpr (kHow == Gate::kFenced) {
      Barrier::Fence();
    } else {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    }
  }

  Gate gate() const { return gate_.load(std::memory_order_relaxed); }
  void CloseGate() { gate_.store(Gate::kClosed, std::memory_order_relaxed); }
  void OpenGate();

  // Returns when all who were in a section have left it. Requires: the gate was closed before, and
  // is not opened meanwhile; no lock is held.
  void AwaitQuiet() const;

 private:
  static constexpr std::size_t kSlotsBefore = 1;  // For ThreadSlot::kGone.

  const Barrier& barrier_;
  Column* columns_ = nullptr;  // By slot, from kGone on; in column_map_.
  std::atomic<Gate> gate_{Gate::kClosed};
  SparseMap column_map_;
  bool wiped_ = false;  // In a child. Where the kernel cannot (before 4.14), nobody attaches.
  Mutex making_;        // Held while a column is made, not across its mmap.
  std::deque<SparseMap> maps_ ABSL_GUARDED_BY(making_);  // Of the counts; they stay where they are.
};

}  // namespace linchpin::internal
