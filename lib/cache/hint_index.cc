#include "lib/cache/hint_index.h"

#include <algorithm>
#include <utility>

namespace linchpin::internal {
namespace {

// Of a longer region the rest is set as it is asked for.
constexpr std::size_t kMostBytesAtOnce = std::size_t{1} << 30;

constexpr std::size_t kLeafMapBytes = 1 << 20;

}  // namespace

void HintIndex::Clear() {
  const MutexLock lock(making_);
  for (const SparseMap& map : leaf_maps_) map.Clear();
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
  const std::uintptr_t first = std::max(range.start, span.start) >> kLeafShift;
  const std::uintptr_t last = (std::min(range.end, span.end) - 1) >> kLeafShift;
  for (std::uintptr_t page = first; page <= last; ++page) {
    (*LeafOf(seen))[page % kLeafEntries].store(id, std::memory_order_relaxed);
  }
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
