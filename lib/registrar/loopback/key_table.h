// KeyTable: what is registered, found by its key. A key is an index and a generation; a record gets
// a new generation with each registration, and retires when they are used up, so no key is ever
// given twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "lib/base/mutex.h"
#include "lib/registrar/loopback/ring.h"
#include "linchpin/access.h"
#include "linchpin/range.h"

namespace linchpin::loopback {

// A key: the index of a record above the generation. Never 0, for a generation is never 0.
inline constexpr unsigned kGenerationBits = 14;
inline constexpr std::uint32_t kGenerationMax = (1U << kGenerationBits) - 1;
inline constexpr std::uint32_t kRecordsMax = 1U << (32 - kGenerationBits);

// What is registered under one key, pinned in pieces that end where addresses are multiples of
// kPieceBytes. Smaller pieces than the kernel's 1 GiB: a ring is blocked while it pins one (64 MiB
// of untouched memory takes about 20 ms).
struct Region {
  static constexpr std::size_t kPieceBytes = std::size_t{64} << 20;

  Range range;
  Access access = Access::kLocalRead;
  std::vector<Slot> slots;  // One a piece, in order of address.

  static std::size_t PieceCount(Range range);
  static Range Piece(Range range, std::size_t piece);  // The part of `range` in that piece.

  // Appends the pinned extents of `part`. Requires: `part` is within `range`, and not empty.
  void AppendExtents(Range part, std::vector<PinnedExtent>& out) const;
};

class KeyTable;

// A region in use: it stays registered for as long as this lives.
class HeldRegion final {
 public:
  HeldRegion(HeldRegion&& other) noexcept
      : table_(std::exchange(other.table_, nullptr)),
        index_(other.index_),
        region_(other.region_) {}
  HeldRegion& operator=(HeldRegion&&) = delete;
  HeldRegion(const HeldRegion&) = delete;
  HeldRegion& operator=(const HeldRegion&) = delete;
  ~HeldRegion();

  const Region& region() const { return *region_; }

 private:
  friend class KeyTable;
  HeldRegion(KeyTable* table, std::uint32_t index, const Region* region)
      : table_(table), index_(index), region_(region) {}

  KeyTable* table_;
  std::uint32_t index_;
  const Region* region_;
};

// Thread-safety: all calls may be made at once from any threads.
class KeyTable final {
 public:
  // Returns: a key that is not alive yet; ResourceExhausted when there is none.
  absl::StatusOr<std::uint32_t> Reserve();
  void Cancel(std::uint32_t key);                  // Requires: reserved. It may be given again.
  void Publish(std::uint32_t key, Region region);  // Requires: reserved. The key is alive.

  // Kills the key, then waits until nobody holds the region. Returns: the region, which the caller
  // must unpin and then Free the key; nothing if the key is not alive.
  std::optional<Region> Kill(std::uint32_t key);
  void Free(std::uint32_t key);  // Requires: killed.

  // Returns: the region under a key that is alive, covers `part`, and has all of `rights`.
  std::optional<HeldRegion> Hold(std::uint32_t key, Range part, Access rights);

  std::uint64_t capacity() const;  // How many keys can be alive at a time.

 private:
  friend class HeldRegion;

  //  Free --Reserve--> Reserved --Publish--> Alive --Kill--> Dying --Free--> Free, or Retired after
  enum class State : std::uint8_t { kFree, kReserved, kAlive, kDying, kRetired };

  struct Record {
    State state = State::kFree;
    std::uint32_t generation = 1;
    std::uint32_t holders = 0;  // 0 unless alive or dying.
    Region region;              // Does not change while it has holders.
  };

  Record* Find(std::uint32_t key, State state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LetGo(std::uint32_t index);

  // A short lock: nothing under it blocks, but for Kill, which waits on let_go_. Taken with no
  // other lock of the device held, not even the one that makes its atomic operations atomic: who
  // copies bytes holds regions from before to after.
  mutable Mutex mutex_;
  CondVar let_go_;                                      // A dying record has lost its last holder.
  std::deque<Record> records_ ABSL_GUARDED_BY(mutex_);  // A record never moves.
  std::vector<std::uint32_t> free_ ABSL_GUARDED_BY(mutex_);  // Indices of the records in kFree.
  std::uint64_t retired_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace linchpin::loopback
