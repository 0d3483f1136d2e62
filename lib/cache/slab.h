// Slab: what each region has under its number, its id, in arrays. A region has its id from the
// moment it is published until it is deregistered; then the next may have it.
//
//   record   32 bytes, all that a hit reads. Type-stable: may be read at any time, by anyone.
//            In what is left of them, whether there is a region, or else which free id is next
//   tally   leases on the region that no column counts: those taken or given back under the mutex
//   region   the Region itself, which lives here from Enter to Leave
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

#include "lib/base/leak_root.h"
#include "lib/base/sparse_map.h"
#include "lib/cache/region.h"

namespace linchpin::internal {

// Written under the cache's mutex, `state` last, with release order. Start, size and keys change
// only while no lease can be on the id.
struct Record {
  std::atomic<std::uintptr_t> start;
  std::atomic<std::size_t> size;
  std::atomic<std::uint32_t> state;
  std::atomic<std::uint32_t> lkey;
  std::atomic<std::uint32_t> rkey;
  RegionId link;  // Of the mutex, no hit reads it: kInUse, or, of a free id, the next such or 0.
};
static_assert(sizeof(Record) == 32);

// Record::state: one of these, or 0, with the region's rights beside kLive.
//
//   0         free, or in limbo: not to be had, and whoever still has it may let go on its own
//   kLive     to be had, without a lock
//   kDoomed   not to be had; who lets go tells the cache, because it may have been the last
//   kCounted  to be had under the mutex alone, so the tally has each acquire; who lets go tells
namespace record_state {
inline constexpr std::uint32_t kLive = 1U << 31;
inline constexpr std::uint32_t kDoomed = 1U << 30;
inline constexpr std::uint32_t kCounted = 1U << 29;
inline constexpr std::uint32_t kTrusted = 1U << 28;  // Beside kLive: needs no look for changes.
}  // namespace record_state

class Slab final {
 public:
  static constexpr std::uint64_t kMaxIds = 1U << 23;
  static constexpr std::size_t kReservedPerId =
      sizeof(Record) + sizeof(std::uint32_t) + sizeof(Region);

  // Reserves room for `ids`, or, where address space is short, for as many as there is room for.
  absl::Status Reserve(std::uint64_t ids);

  // Opens room for more ids, if nobody else just has.
  // Returns: false when the kernel refuses, or there are `capacity`.
  // Requires: no lock of the monitor's reader is held; one call at a time.
  bool Grow();

  std::uint64_t capacity() const { return capacity_; }
  // Ids below this have been used.
  RegionId end() const { return end_.load(std::memory_order_acquire); }

  Record& record(RegionId id) const { return records_[id]; }

  // The rest is guarded by the cache's mutex.
  std::uint32_t& tally(RegionId id) const { return tally_[id]; }
  Region* region(RegionId id) const {
    return records_[id].link == kInUse ? regions_ + id : nullptr;
  }
  // Requires: a region has the id. Who holds a lease on it needs no mutex for this.
  Region& held(RegionId id) const { return regions_[id]; }

  // Takes all ids back, if no region has one: none is given until Clear and Grow were called.
  // Returns: false if one has.
  bool Retract();

  // Gives the memory of the arrays back. Requires: Retract, and no Grow since; as for Grow; nobody
  // is in a section of a column.
  void Clear() const;

  // Returns: a new region with an id, or null: Grow first.
  Region* Enter();
  // Requires: the region is in no set and no list, and has no extras, which would be freed.
  void Leave(Region& region);

 private:
  static constexpr RegionId kInUse = UINT32_MAX;

  SparseMap record_map_;
  SparseMap tally_map_;
  SparseMap region_map_;
  LeakRoot region_root_;  // A region has what it points to on the heap.
  Record* records_ = nullptr;
  std::uint32_t* tally_ = nullptr;
  Region* regions_ = nullptr;

  std::uint64_t capacity_ = 0;
  // On a line of their own: what is above is read by every hit.
  alignas(64) std::atomic<RegionId> open_{0};  // Ids below this may be given.
  std::atomic<RegionId> end_{1};
  RegionId free_ = 0;
  RegionId used_ = 0;  // How many ids regions have.
};

}  // namespace linchpin::internal
