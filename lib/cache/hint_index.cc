#include "lib/cache/hint_index.h"

#include <algorithm>
#include <utility>

namespace linchpin::internal {
namespace {

// Of a longer region the rest is set as it is asked for.
constexpr std::size_t kMostBytesAtOnce = std::size_t{1} << 30;

constexpr std::size_t kLeafMapBytes = 1 << 20;

}  // namespace

void HintIndex::Reserve(std::uint64_t ids) {
  constexpr std::uint64_t kTwigsPerRegion = 2;  // One for each of its borders.
  const MutexLock lock(making_);
  absl::StatusOr<SparseMap> map = SparseMap::Reserve((ids + 1) * kTwigsPerRegion * sizeof(Twig));
  if (!map.ok()) return;
  twig_map_ = *std::move(map);
  twigs_ = reinterpret_cast<Twig*>(twig_map_.data());
}

// Somebody may be setting a hint in a twig meanwhile that is then another leaf's: a wrong hint.
void HintIndex::Clear() {
  const MutexLock lock(making_);
  for (const SparseMap& map : leaf_maps_) map.Clear();
  twig_map_.Clear();
  used_twigs_ = 0;
}

void HintIndex::Set(Range range, RegionId id) {
  constexpr std::uintptr_t kSpan = std::uintptr_t{1} << kBlockShift;
  const std::uintptr_t end = range.start + std::min(range.size(), kMostBytesAtOnce);
  for (std::uintptr_t at = range.start / kSpan * kSpan; at < end; at += kSpan) {
    if (at >> kAddressBits != 0) return;
    Block* block = top_[at >> kTopShift].load(std::memory_order_acquire);
    if (block == nullptr) block = MakeBlock(at >> kTopShift);
    if (block == nullptr) return;
    SetEntry((*block)[(at >> kBlockShift) % kBlockEntries], {at, at + kSpan}, range, id);
  }
}

HintIndex::Block* HintIndex::MakeBlock(std::size_t at) {
  absl::StatusOr<SparseMap> map = SparseMap::Reserve(sizeof(Block));
  if (!map.ok() || !map->Open(sizeof(Block))) return nullptr;
  auto* const made = reinterpret_cast<Block*>(map->data());  // Zeroes are valid entries.
  Block* current = nullptr;
  if (!top_[at].compare_exchange_strong(current, made, std::memory_order_acq_rel)) return current;
  maps_[at] = *std::move(map);
  return made;
}

// `span`: what the entry stands for. The entry becomes a leaf if another region lives there too.
void HintIndex::SetEntry(Entry& entry, Range span, Range range, RegionId id) {
  const bool whole = range.Contains(span);
  std::uintptr_t seen = entry.load(std::memory_order_acquire);
  while (seen % 2 == 0) {
    const auto other = static_cast<RegionId>(seen >> 1);
    if (whole || other == 0 || other == id || !Lives(other, span)) {
      if (entry.compare_exchange_weak(seen, std::uintptr_t{id} << 1, std::memory_order_acq_rel)) {
        return;
      }
    } else if (!MakeLeaf(entry, seen)) {
      return;
    }
  }
  constexpr std::uintptr_t kPieceSpan = std::uintptr_t{1} << kLeafShift;
  const std::uintptr_t end = std::min(range.end, span.end);
  std::uintptr_t at = std::max(range.start, span.start) / kPieceSpan * kPieceSpan;
  for (; at < end; at += kPieceSpan) {
    SetPiece((*LeafOf(seen))[(at >> kLeafShift) % kLeafEntries], {at, at + kPieceSpan}, range, id);
  }
}

// The same one level below.
void HintIndex::SetPiece(Piece& piece, Range span, Range range, RegionId id) {
  const bool whole = range.Contains(span);
  std::uint32_t seen = piece.load(std::memory_order_acquire);
  while ((seen & kTwigBit) == 0) {
    if (whole || seen == 0 || seen == id || !Lives(seen, span)) {
      if (piece.compare_exchange_weak(seen, id, std::memory_order_acq_rel)) return;
    } else if (!MakeTwig(piece, seen)) {
      piece.store(id, std::memory_order_relaxed);  // The last one has it.
      return;
    }
  }
  const std::uintptr_t first = std::max(range.start, span.start) >> kTwigShift;
  const std::uintptr_t last = (std::min(range.end, span.end) - 1) >> kTwigShift;
  for (std::uintptr_t page = first; page <= last; ++page) {
    TwigOf(seen)[page % kTwigEntries].store(id, std::memory_order_relaxed);
  }
}

// Puts a twig in the place of `seen`, which is an id; the twig says the same. Leaves in `seen` what
// is there then. Returns: false for want of memory.
bool HintIndex::MakeTwig(Piece& piece, std::uint32_t& seen) {
  const MutexLock lock(making_);
  if (!twig_map_.Open((used_twigs_ + std::size_t{1}) * sizeof(Twig))) return false;
  for (auto& id : twigs_[used_twigs_]) id.store(seen, std::memory_order_relaxed);
  const std::uint32_t made = used_twigs_ | kTwigBit;
  if (!piece.compare_exchange_strong(seen, made, std::memory_order_acq_rel)) return true;
  ++used_twigs_;
  seen = made;
  return true;
}

// Puts a leaf in the place of `seen`, which is an id; the leaf says the same. Leaves in `seen` what
// is there then. Returns: false for want of memory.
bool HintIndex::MakeLeaf(Entry& entry, std::uintptr_t& seen) {
  const MutexLock lock(making_);
  Leaf* const leaf = NewLeaf();
  if (leaf == nullptr) return false;
  for (auto& id : *leaf) id.store(static_cast<RegionId>(seen >> 1), std::memory_order_relaxed);
  const std::uintptr_t made = reinterpret_cast<std::uintptr_t>(leaf) | 1;
  if (!entry.compare_exchange_strong(seen, made, std::memory_order_acq_rel)) {
    leaf_bytes_ -= sizeof(Leaf);  // The next one takes its place.
    return true;
  }
  seen = made;
  return true;
}

// Returns: a leaf with anything in it, or null for want of memory.
HintIndex::Leaf* HintIndex::NewLeaf() {
  if (leaf_maps_.empty() || leaf_bytes_ + sizeof(Leaf) > kLeafMapBytes) {
    absl::StatusOr<SparseMap> map = SparseMap::Reserve(kLeafMapBytes);
    if (!map.ok() || !map->Open(kLeafMapBytes)) return nullptr;
    leaf_maps_.push_back(*std::move(map));
    leaf_bytes_ = 0;
  }
  Leaf* const leaf = reinterpret_cast<Leaf*>(leaf_maps_.back().data() + leaf_bytes_);
  leaf_bytes_ += sizeof(Leaf);
  return leaf;
}

bool HintIndex::Lives(RegionId id, Range span) const {
  const Record& record = slab_.record(id);
  if ((record.state.load(std::memory_order_acquire) & record_state::kLive) == 0) return false;
  const std::uintptr_t start = record.start.load(std::memory_order_relaxed);
  return Range{start, start + record.size.load(std::memory_order_relaxed)}.Overlaps(span);
}

}  // namespace linchpin::internal
