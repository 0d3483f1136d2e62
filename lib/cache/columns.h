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
// opened: then, and only then, may others write the columns.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "lib/base/barrier.h"
#include "lib/base/sparse_map.h"
#include "lib/base/thread_slot.h"
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
  std::atomic<std::uint64_t> releases{0};
  SparseMap map;
};

class Columns final {
 public:
  explicit Columns(const Barrier& barrier)
      : barrier_(barrier), columns_(new std::atomic<Column*>[std::size_t{ThreadSlot::kEnd}]()) {}
  ~Columns();
  Columns(const Columns&) = delete;
  Columns& operator=(const Columns&) = delete;

  // The calling thread's column, or null if it has none yet.
  Column* Mine() const {
    const int slot = ThreadSlot::Current();
    return slot <= 0 ? nullptr : columns_.get()[slot].load(std::memory_order_relaxed);
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
      Column* const column = columns_.get()[slot].load(std::memory_order_acquire);
      if (column != nullptr) visit(*column);
    }
  }

  // Whether the owner may count: not while the gate is closed.
  bool Enter(Column& mine) const {
    mine.inside.store(1, std::memory_order_relaxed);
    barrier_.Light();  // Pairs with AwaitQuiet.
    if (open_.load(std::memory_order_acquire)) return true;
    Leave(mine);
    return false;
  }
  static void Leave(Column& mine) { mine.inside.store(0, std::memory_order_release); }

  void CloseGate() { open_.store(false, std::memory_order_relaxed); }
  void OpenGate() { open_.store(true, std::memory_order_release); }

  // Returns when all who were in a section have left it. Requires: the gate was closed before, and
  // is not opened meanwhile; no lock is held.
  void AwaitQuiet() const;

 private:
  const Barrier& barrier_;
  const std::unique_ptr<std::atomic<Column*>[]> columns_;  // By slot.
  alignas(64) std::atomic<bool> open_{true};
};

}  // namespace linchpin::internal
