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
  static_assert(kReservedPerId == 2 * sizeof(Twig));
  const MutexLock lock(making_);
  absl::StatusOr<SparseMap> map =
      SparseMap::Reserve((ids + 1) * kReservedPerId, SparseMap::Pages::kHuge);
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
    const Range span{at, at + kSpan};
    const std::uint64_t leaf = Claim((*block)[(at >> kBlockShift) % kBlockEntries], span, range, id,
                                     [this](RegionId other) { return MakeLeaf(other); });
    if (leaf != 0) SetInLeaf(LeafOf(leaf), span, range, id);
  }
}

HintIndex::Block* HintIndex::MakeBlock(std::size_t at) {
  absl::StatusOr<SparseMap> map = SparseMap::MakeOpen(sizeof(Block));
  if (!map.ok()) return nullptr;
  auto* const made = reinterpret_cast<Block*>(map->data());  // Zeroes are valid entries.
  Block* current = nullptr;
  if (!top_[at].compare_exchange_strong(current, made, std::memory_order_acq_rel)) return current;
  maps_[at] = *std::move(map);
  return made;
}

// Lets the slot, which stands for `span`, say the id; or, where another region lives there too,
// have a child that says so far what the slot said. For want of memory the regions take turns.
// Returns: the child, or 0.
template <typename Word, typename Make>
Word HintIndex::Claim(std::atomic<Word>& slot, Range span, Range range, RegionId id, Make make) {
  Word seen = slot.load(std::memory_order_acquire);
  while (!IsChild(seen)) {
    const auto other = static_cast<RegionId>(seen);
    const bool alone = range.Contains(span) || other == 0 || other == id || !Lives(other, span);
    const Word child = alone ? Word{0} : make(other);
    const Word wanted = child != 0 ? child : Word{id};
    if (slot.compare_exchange_strong(seen, wanted, std::memory_order_acq_rel)) return child;
  }
  return seen;
}

void HintIndex::SetInLeaf(Leaf& leaf, Range span, Range range, RegionId id) {
  constexpr std::uintptr_t kPieceSpan = std::uintptr_t{1} << kLeafShift;
  constexpr std::uintptr_t kPage = std::uintptr_t{1} << kTwigShift;
  const std::uintptr_t end = std::min(range.end, span.end);
  std::uintptr_t at = std::max(range.start, span.start) / kPieceSpan * kPieceSpan;
  for (; at < end; at += kPieceSpan) {
    const std::uint32_t twig = Claim(leaf[(at >> kLeafShift) % kLeafEntries], {at, at + kPieceSpan},
                                     range, id, [this](RegionId other) { return MakeTwig(other); });
    if (twig == 0) continue;
    const std::uintptr_t last = std::min(end, at + kPieceSpan);
    for (std::uintptr_t page = std::max(range.start, at) / kPage * kPage; page < last;
         page += kPage) {
      TwigOf(twig)[(page >> kTwigShift) % kTwigEntries].store(id, std::memory_order_relaxed);
    }
  }
}

// Returns: the entry of a new leaf that says `id` throughout, or 0 for want of memory.
std::uint64_t HintIndex::MakeLeaf(RegionId id) {
  const MutexLock lock(making_);
  if (leaf_maps_.empty() || leaf_bytes_ + sizeof(Leaf) > kLeafMapBytes) {
    absl::StatusOr<SparseMap> map = SparseMap::MakeOpen(kLeafMapBytes);
    if (!map.ok()) return 0;
    leaf_maps_.push_back(*std::move(map));
    leaf_bytes_ = 0;
  }
  auto* const leaf = reinterpret_cast<Leaf*>(leaf_maps_.back().data() + leaf_bytes_);
  leaf_bytes_ += sizeof(Leaf);
  for (auto& piece : *leaf) piece.store(id, std::memory_order_relaxed);
  return reinterpret_cast<std::uintptr_t>(leaf) | kChild<std::uint64_t>;
}

// The same for a twig.
std::uint32_t HintIndex::MakeTwig(RegionId id) {
  const MutexLock lock(making_);
  if (!twig_map_.Open((used_twigs_ + std::size_t{1}) * sizeof(Twig))) return 0;
  for (auto& page : twigs_[used_twigs_]) page.store(id, std::memory_order_relaxed);
  return used_twigs_++ | kChild<std::uint32_t>;
}

bool HintIndex::Lives(RegionId id, Range span) const {
  const Record& record = slab_.record(id);
  if ((record.state.load(std::memory_order_acquire) & record_state::kLive) == 0) return false;
  const std::uintptr_t start = record.start.load(std::memory_order_relaxed);
  return Range{start, start + record.size.load(std::memory_order_relaxed)}.Overlaps(span);
}

}  // namespace linchpin::internal
