// HintIndex: from an address to the id of the region that probably serves it, without a lock.
//
// Only a hint. Whoever asks checks the answer against the record of that id, so an old or a wrong
// one costs a look into the real index and nothing else; that is why nothing here needs an order, a
// version, or to be taken back when a region goes.
//
//   top[(address >> 39) % 2^9] -> a block
//      block[(address >> 21) % 2^18]   an id, or a
//       leaf[(address >> 16) % 32]     an id, or a
//       twig[(address >> 12) % 16]     an id
//
// A leaf is made where two regions share 2 MiB, a twig where they share 64 KiB: 192 bytes for a
// border between two large regions. All stay until the cache goes; they are in maps of their own,
// so that they do not keep the heap from shrinking.
//
// Thread-safety: all calls may be made at once from any threads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "lib/base/mutex.h"
#include "lib/base/sparse_map.h"
#include "lib/cache/slab.h"
#include "linchpin/range.h"

namespace linchpin::internal {

class HintIndex final {
 public:
  // Of address space: two twigs, one for each of a region's borders.
  static constexpr std::size_t kReservedPerId = 128;

  explicit HintIndex(const Slab& slab) : slab_(slab) {}
  ~HintIndex() = default;
  HintIndex(const HintIndex&) = delete;
  HintIndex& operator=(const HintIndex&) = delete;

  // Returns: an id that was once set for the address, or 0.
  RegionId Find(std::uintptr_t address) const {
    const Block* const block =
        top_[(address >> kTopShift) % kTopEntries].load(std::memory_order_acquire);
    if (block == nullptr) [[unlikely]]
      return 0;
    const std::uint64_t entry =
        (*block)[(address >> kBlockShift) % kBlockEntries].load(std::memory_order_acquire);
    if (!IsChild(entry)) return static_cast<RegionId>(entry);
    const std::uint32_t piece =
        LeafOf(entry)[(address >> kLeafShift) % kLeafEntries].load(std::memory_order_acquire);
    if (!IsChild(piece)) return piece;
    return TwigOf(piece)[(address >> kTwigShift) % kTwigEntries].load(std::memory_order_relaxed);
  }

  // Reserves room for the twigs of `ids` regions. Without, regions that share 64 KiB take turns in
  // one hint.
  void Reserve(std::uint64_t ids);

  // Forgets the hints that are in leaves, and gives their memory back.
  void Clear();

  // Makes `id` the answer for the range, or for a part of it that holds its first page, where the
  // range is very long. May allocate; does nothing when the kernel gives no memory.
  // Requires: no lock is held.
  void Set(Range range, RegionId id);

 private:
  static constexpr int kAddressBits = 48;  // Above, addresses share hints with those below.
  static constexpr int kTopShift = 39;
  static constexpr int kBlockShift = 21;
  static constexpr int kLeafShift = 16;
  static constexpr int kTwigShift = 12;
  static constexpr std::size_t kTopEntries = std::size_t{1} << (kAddressBits - kTopShift);
  static constexpr std::size_t kBlockEntries = std::size_t{1} << (kTopShift - kBlockShift);
  static constexpr std::size_t kLeafEntries = std::size_t{1} << (kBlockShift - kLeafShift);
  static constexpr std::size_t kTwigEntries = std::size_t{1} << (kLeafShift - kTwigShift);

  // Each slot has an id, or 0, or, with its highest bit set, its child, which says more.
  using Block = std::array<std::atomic<std::uint64_t>, kBlockEntries>;  // The leaf's address.
  using Leaf = std::array<std::atomic<std::uint32_t>, kLeafEntries>;    // The twig's number.
  using Twig = std::array<std::atomic<RegionId>, kTwigEntries>;

  template <typename Word>
  static constexpr Word kChild = Word{1} << (std::numeric_limits<Word>::digits - 1);
  template <typename Word>
  static bool IsChild(Word slot) {
    return (slot & kChild<Word>) != 0;
  }
  static Leaf& LeafOf(std::uint64_t entry) {
    return *reinterpret_cast<Leaf*>(entry & ~kChild<std::uint64_t>);
  }
  Twig& TwigOf(std::uint32_t piece) const { return twigs_[piece & ~kChild<std::uint32_t>]; }

  Block* MakeBlock(std::size_t at);
  template <typename Word, typename Make>
  Word Claim(std::atomic<Word>& slot, Range span, Range range, RegionId id, Make make);
  void SetInLeaf(Leaf& leaf, Range span, Range range, RegionId id);
  std::uint64_t MakeLeaf(RegionId id);
  std::uint32_t MakeTwig(RegionId id);
  bool Lives(RegionId id, Range span) const;

  const Slab& slab_;
  Twig* twigs_ = nullptr;  // In twig_map_; does not move.
  std::array<std::atomic<Block*>, kTopEntries> top_{};
  std::array<SparseMap, kTopEntries> maps_;  // Written by who makes the block.

  // Held while a leaf or a twig is made, also across mmap; the monitor's reader never takes it. On
  // lines of their own: what is above is read by every hit.
  alignas(64) Mutex making_;
  std::vector<SparseMap> leaf_maps_ ABSL_GUARDED_BY(making_);
  std::size_t leaf_bytes_ ABSL_GUARDED_BY(making_) = 0;  // Used of the last of leaf_maps_.
  SparseMap twig_map_ ABSL_GUARDED_BY(making_);
  std::uint32_t used_twigs_ ABSL_GUARDED_BY(making_) = 0;
};

}  // namespace linchpin::internal
