#include "lib/cache/slab.h"

#include <algorithm>
#include <utility>

namespace linchpin::internal {
namespace {

constexpr std::uint64_t kFewestIds = 4096;

constexpr std::uintptr_t FreeSlot(RegionId next) {
  return (std::uintptr_t{next} << 1) | 1;
}

}  // namespace

absl::Status Slab::Reserve(std::uint64_t ids) {
  for (ids = std::min(ids, kMaxIds - 1) + 1;; ids = std::max(ids / 2, kFewestIds)) {
    absl::StatusOr<SparseMap> records = SparseMap::Reserve(ids * sizeof(Record));
    absl::StatusOr<SparseMap> ledger = SparseMap::Reserve(ids * sizeof(std::uint32_t));
    absl::StatusOr<SparseMap> regions = SparseMap::Reserve(ids * sizeof(std::uintptr_t));
    if (!records.ok() || !ledger.ok() || !regions.ok()) {
      if (ids > kFewestIds) continue;
      return !records.ok() ? records.status() : !ledger.ok() ? ledger.status() : regions.status();
    }
    record_map_ = *std::move(records);
    ledger_map_ = *std::move(ledger);
    region_map_ = *std::move(regions);
    records_ = reinterpret_cast<Record*>(record_map_.data());
    ledger_ = reinterpret_cast<std::uint32_t*>(ledger_map_.data());
    regions_ = reinterpret_cast<std::uintptr_t*>(region_map_.data());
    capacity_ = ids - 1;
    if (Grow()) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        "the kernel gives no memory for the cache's own records; free some");
  }
}

bool Slab::Grow() {
  const std::uint64_t wanted = std::min<std::uint64_t>(
      std::max(open_.load(), end_.load()) + std::uint64_t{1}, capacity_ + 1);
  if (wanted <= open_) return false;
  const bool grown = record_map_.Open(wanted * sizeof(Record)) &&
                     ledger_map_.Open(wanted * sizeof(std::uint32_t)) &&
                     region_map_.Open(wanted * sizeof(std::uintptr_t));
  if (!grown) return false;
  const std::uint64_t open = std::min({record_map_.open_bytes() / sizeof(Record),
                                       ledger_map_.open_bytes() / sizeof(std::uint32_t),
                                       region_map_.open_bytes() / sizeof(std::uintptr_t)});
  open_.store(static_cast<RegionId>(std::min(open, capacity_ + 1)), std::memory_order_release);
  return true;
}

bool Slab::Enter(Region& region) {
  if (free_ != 0) {
    region.id = free_;
    free_ = static_cast<RegionId>(regions_[free_] >> 1);
  } else {
    const RegionId next = end_.load(std::memory_order_relaxed);
    if (next >= open_.load(std::memory_order_acquire)) return false;
    region.id = next;
    end_.store(next + 1, std::memory_order_release);
  }
  regions_[region.id] = reinterpret_cast<std::uintptr_t>(&region);
  ++used_;
  return true;
}

void Slab::Leave(Region& region) {
  record(region.id).state.store(0, std::memory_order_relaxed);
  regions_[region.id] = FreeSlot(std::exchange(free_, region.id));
  region.id = 0;
  --used_;
}

bool Slab::Retract() {
  if (used_ != 0) return false;
  free_ = 0;
  open_.store(0, std::memory_order_release);
  end_.store(1, std::memory_order_release);
  return true;
}

void Slab::Clear() const {
  record_map_.Clear();
  ledger_map_.Clear();
  region_map_.Clear();
}

}  // namespace linchpin::internal
