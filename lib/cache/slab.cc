#include "lib/cache/slab.h"

#include <algorithm>
#include <new>
#include <utility>

namespace linchpin::internal {
namespace {

constexpr std::uint64_t kFewestIds = 4096;

}  // namespace

absl::Status Slab::Reserve(std::uint64_t ids) {
  for (ids = std::min(ids, kMaxIds - 1) + 1;; ids = std::max(ids / 2, kFewestIds)) {
    absl::StatusOr<SparseMap> records =
        SparseMap::Reserve(ids * sizeof(Record), SparseMap::Pages::kHuge);
    absl::StatusOr<SparseMap> tally = SparseMap::Reserve(ids * sizeof(std::uint32_t));
    absl::StatusOr<SparseMap> regions = SparseMap::Reserve(ids * sizeof(Region));
    if (!records.ok() || !tally.ok() || !regions.ok()) {
      if (ids > kFewestIds) continue;
      if (!records.ok()) return records.status();
      return !tally.ok() ? tally.status() : regions.status();
    }
    record_map_ = *std::move(records);
    tally_map_ = *std::move(tally);
    region_map_ = *std::move(regions);
    region_root_ = LeakRoot(region_map_.data(), region_map_.bytes());
    records_ = reinterpret_cast<Record*>(record_map_.data());
    tally_ = reinterpret_cast<std::uint32_t*>(tally_map_.data());
    regions_ = reinterpret_cast<Region*>(region_map_.data());
    capacity_ = ids - 1;
    if (Grow()) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        "the kernel gives no memory for the cache's own records; free some");
  }
}

// By half, in steps that a process which counts its memory can pay.
bool Slab::Grow() {
  constexpr std::uint64_t kFirst = 256;
  constexpr std::uint64_t kMost = 1 << 18;
  if (end_ < open_) return true;
  const std::uint64_t given = std::max(open_.load(), end_.load());
  const std::uint64_t ids =
      std::min(given + std::clamp<std::uint64_t>(given / 2, kFirst, kMost), capacity_ + 1);
  const bool grown = ids > open_ && record_map_.Open(ids * sizeof(Record)) &&
                     tally_map_.Open(ids * sizeof(std::uint32_t)) &&
                     region_map_.Open(ids * sizeof(Region));
  if (grown) open_.store(static_cast<RegionId>(ids), std::memory_order_release);
  return grown;
}

Region* Slab::Enter() {
  RegionId id = free_;
  if (id != 0) {
    free_ = record(id).link;
  } else {
    id = end_.load(std::memory_order_relaxed);
    if (id >= open_.load(std::memory_order_acquire)) return nullptr;
    end_.store(id + 1, std::memory_order_release);
  }
  record(id).link = kInUse;
  ++used_;
  auto* const region = new (regions_ + id) Region;
  region->id = id;
  return region;
}

void Slab::Leave(Region& region) {
  const RegionId id = region.id;
  region.~Region();
  record(id).state.store(0, std::memory_order_relaxed);
  record(id).link = std::exchange(free_, id);
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
  for (const SparseMap* map : {&record_map_, &tally_map_, &region_map_}) map->Clear();
}

}  // namespace linchpin::internal
