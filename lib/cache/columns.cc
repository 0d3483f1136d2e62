#include "lib/cache/columns.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "lib/base/backoff.h"

namespace linchpin::internal {
namespace {

constexpr std::size_t kLine = 64;

// Columns that all began at the same place in a page would compete for the same lines of the
// caches. An odd stride, so that the first 64 all differ.
constexpr std::size_t SkewBytes(int slot) {
  constexpr std::size_t kStride = 11;
  return static_cast<std::size_t>(slot) * kStride % 64 * kLine;
}

constexpr std::size_t kMostSkewBytes = 64 * kLine;

}  // namespace

Columns::Columns(const Barrier& barrier) : barrier_(barrier) {
  OpenGate();
}

absl::Status Columns::Reserve() {
  constexpr std::size_t kBytes = (kSlotsBefore + std::size_t{ThreadSlot::kEnd}) * sizeof(Column);
  absl::StatusOr<SparseMap> map = SparseMap::MakeOpen(kBytes);
  if (!map.ok()) return map.status();
  column_map_ = *std::move(map);
  columns_ = reinterpret_cast<Column*>(column_map_.data()) + kSlotsBefore;
  wiped_ = madvise(column_map_.data(), column_map_.bytes(), MADV_WIPEONFORK) == 0;
  return absl::OkStatus();
}

void Columns::OpenGate() {
  gate_.store(barrier_.asymmetric() ? Gate::kOpen : Gate::kFenced, std::memory_order_release);
}

Column* Columns::Attach(RegionId ids, std::uint64_t capacity) {
  const int slot = ThreadSlot::Claim();
  if (slot <= 0 || !wiped_) return nullptr;
  Column& mine = columns_[slot];
  const std::size_t skew = SkewBytes(slot);
  if (mine.map == nullptr) {
    auto map = SparseMap::Reserve((capacity + 1) * sizeof(Count) + kMostSkewBytes);
    if (!map.ok()) return nullptr;
    const MutexLock lock(making_);
    mine.map = &maps_.emplace_back(*std::move(map));
    mine.counts = reinterpret_cast<Count*>(mine.map->data() + skew);
  }
  if (ids > mine.ids.load(std::memory_order_relaxed)) {
    if (!mine.map->Open(ids * sizeof(Count) + skew)) return nullptr;
    const std::uint64_t open = (mine.map->open_bytes() - skew) / sizeof(Count);
    mine.ids.store(static_cast<RegionId>(std::min(open, capacity + 1)),
                   std::memory_order_release);  // Publishes the counts.
  }
  return &mine;
}

// Released before acquired, in all columns: a lease that moves from one column to another between
// the two readings is counted, if wrongly, once too often.
std::uint32_t Columns::Sum(RegionId id) const {
  std::uint32_t sum = 0;
  ForEach([&](const Column& column) {
    if (id >= column.ids.load(std::memory_order_acquire)) return;
    sum -= column.counts[id].released.load(std::memory_order_acquire);
  });
  ForEach([&](const Column& column) {
    if (id >= column.ids.load(std::memory_order_acquire)) return;
    sum += column.counts[id].acquired.load(std::memory_order_relaxed);
  });
  return sum;
}

void Columns::AwaitQuiet() const {
  barrier_.Heavy();  // Pairs with Enter: who is not seen inside will see the gate closed.
  ForEach([](const Column& column) {
    Backoff backoff;
    while (column.inside.load(std::memory_order_acquire) != 0) backoff.Pause();
  });
}

}  // namespace linchpin::internal
