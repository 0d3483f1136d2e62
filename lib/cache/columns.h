// Columns: who counts leases without a lock. Each thread has a column of its own in each cache that
// it uses, an array of two counters for each region, which it alone writes:
//
//   leases on region i  =  ledger(i) + sum over columns of acquired(i) - released(i)     (mod 2^32)
//
// A lease counts as released in the column of the thread that releases it. The column of a thread
// that ended, what it holds included, is the next one's to claim the slot.
//
// The owner writes counters only inside a section, between Enter and Leave. Once the gate has been
// closed and AwaitQuiet has returned, nobody is in a section and nobody gets in until the gate is
// opened: then, and only then, may others write the columns. In a forked child the gate reads as
// closed for ever.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "lib/base/barrier.h"
#include "lib/base/sparse_map.h"
#include "lib/base/thread_slot.h"
#include "lib/base/wiped_page.h"
#include "lib/cache/region.h"

namespace linchpin::internal {

struct Count {
  std::atomic<std::uint32_t> acquired;
  std::atomic<std::uint32_t> released;
};

// One writer: the thread that has the slot. Not a read-modify-write of the processor's.
template <typename T>
void AddAlone(std::atomic<T>& counter, std::memory_order order) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, order);
}

struct alignas(64) Column {
  std::atomic<std::uint32_t> inside{0};  // 1 in a section.
  std::atomic<RegionId> ids{0};          // There are counts for the ids below this.
  Count* counts = nullptr;               // Does not move.
  std::uint64_t settled_at = 0;          // In ticks; the owner's alone.
  std::atomic<std::uint64_t> hits{0};
  SparseMap map;
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
  ~Columns();
  Columns(const Columns&) = delete;
  Columns& operator=(const Columns&) = delete;

  // The calling thread's column, or, if it has none yet, one that has counts for no id. Without a
  // branch: slots that are none have an entry too.
  Column& MineOrNobodys() const {
    return *columns_[ThreadSlot::Current()].load(std::memory_order_relaxed);
  }

  // The calling thread's column, or null if it has none yet.
  Column* Mine() const {
    Column& mine = MineOrNobodys();
    return &mine == &nobodys_ ? nullptr : &mine;
  }

  // The same, made if need be and opened for the ids below `ids`, of which there can be `capacity`.
  // Returns: null in a thread that is ending, for the thread after kEnd others, and when the kernel
  // gives no memory: that thread counts in the ledger then.
  // Requires: no lock is held.
  Column* Attach(RegionId ids, std::uint64_t capacity);

  // Returns: what all columns together count for `id`, mod 2^32. At least the true count if no
  // lease on it can be acquired any more, which takes a Heavy() since it was marked so.
  std::uint32_t Sum(RegionId id) const;

  // Calls visit(column) for each column.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (int slot = 1; slot < ThreadSlot::Bound(); ++slot) {
      Column& column = *columns_[slot].load(std::memory_order_acquire);
      if (&column != &nobodys_) visit(column);
    }
  }

  // Whether the owner may count now, with kOpen's or kFenced's barriers, as the gate says.
  template <Gate kHow>
  bool Enter(Column& mine) const {
    mine.inside.store(1, std::memory_order_relaxed);
    Light<kHow>();  // Pairs with AwaitQuiet.
    if (gate_->load(std::memory_order_acquire) == kHow) return true;
    Leave(mine);
    return false;
  }
  bool Enter(Column& mine) const {
    return barrier_.asymmetric() ? Enter<Gate::kOpen>(mine) : Enter<Gate::kFenced>(mine);
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

  Gate gate() const { return gate_->load(std::memory_order_relaxed); }
  void CloseGate() { gate_->store(Gate::kClosed, std::memory_order_relaxed); }
  void OpenGate();

  // Returns when all who were in a section have left it. Requires: the gate was closed before, and
  // is not opened meanwhile; no lock is held.
  void AwaitQuiet() const;

 private:
  static constexpr std::size_t kSlotsBefore = 1;  // For ThreadSlot::kGone.

  const Barrier& barrier_;
  mutable Column nobodys_;
  const std::unique_ptr<std::atomic<Column*>[]> all_columns_;
  std::atomic<Column*>* const columns_;  // By slot; never null, so from all_columns_ + 1 on.

  const WipedPage page_;
  std::atomic<Gate> closed_for_good_{Gate::kClosed};  // Where nothing can be wiped.
  std::atomic<Gate>* const gate_;                     // In page_, or that.
};

}  // namespace linchpin::internal
