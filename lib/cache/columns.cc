#include "lib/cache/columns.h"

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

Columns::Columns(const Barrier& barrier)
    : barrier_(barrier),
      all_columns_(new std::atomic<Column*>[kSlotsBefore + std::size_t{ThreadSlot::kEnd}]),
      columns_(all_columns_.get() + kSlotsBefore),
      gate_(page_.data() == nullptr ? &closed_for_good_
                                    : static_cast<std::atomic<Gate>*>(page_.data())) {
  for (int slot = ThreadSlot::kGone; slot < ThreadSlot::kEnd; ++slot) {
    columns_[slot].store(&nobodys_, std::memory_order_relaxed);
  }
  OpenGate();
}

Columns::~Columns() {
  ForEach([](Column& column) { delete &column; });
}

void Columns::OpenGate() {
  if (gate_ == &closed_for_good_) return;
  gate_->store(barrier_.asymmetric() ? Gate::kOpen : Gate::kFenced, std::memory_order_release);
}

Column* Columns::Attach(RegionId ids, std::uint64_t capacity) {
  const int slot = ThreadSlot::Claim();
  if (slot <= 0) return nullptr;
  Column* column = columns_[slot].load(std::memory_order_relaxed);
  if (column == &nobodys_) {
    auto map = SparseMap::Reserve((capacity + 1) * sizeof(Count) + kMostSkewBytes);
    if (!map.ok()) return nullptr;
    auto made = std::make_unique<Column>();
    made->map = *std::move(map);
    made->counts = reinterpret_cast<Count*>(made->map.data() + SkewBytes(slot));
    column = made.release();
    columns_[slot].store(column, std::memory_order_release);
  }
  if (ids > column->ids.load(std::memory_order_relaxed)) {
    const std::size_t skew = SkewBytes(slot);
    if (!column->map.Open(ids * sizeof(Count) + skew)) return nullptr;
    const std::uint64_t open = (column->map.open_bytes() - skew) / sizeof(Count);
    column->ids.store(static_cast<RegionId>(std::min(open, capacity + 1)),
                      std::memory_order_release);
  }
  return column;
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
