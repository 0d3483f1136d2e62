#include "lib/cache/region_index.h"

#include <algorithm>
#include <iterator>

#include "lib/base/check.h"

namespace linchpin::internal {
namespace {

struct StartsBefore {
  bool operator()(const Region& region, std::uintptr_t address) const {
    return region.range.start < address;
  }
  bool operator()(std::uintptr_t address, const Region& region) const {
    return address < region.range.start;
  }
};

struct OrdersByRange {
  bool operator()(const Region& region, const Range& range) const {
    if (region.range.start != range.start) return region.range.start < range.start;
    return region.range.end < range.end;
  }
  bool operator()(const Range& range, const Region& region) const {
    if (region.range.start != range.start) return range.start < region.range.start;
    return range.end < region.range.end;
  }
};

}  // namespace

void OverlapSet::Insert(Region& region) {
  if (set_.empty()) largest_ = 0;
  largest_ = std::max(largest_, region.range.size());
  set_.insert(region);
}

RegionSet::iterator OverlapSet::FirstCandidate(const Range& range) {
  const std::uintptr_t from = range.start > largest_ ? range.start - largest_ : 0;
  return set_.lower_bound(from, StartsBefore());
}

Region* OverlapSet::FindEqual(const Range& range, Access access) {
  auto at = set_.lower_bound(range, OrdersByRange());
  for (; at != set_.end() && at->range == range; ++at) {
    if (at->access == access) return &*at;
  }
  return nullptr;
}

void Shelf::Insert(Region& region) {
  set_.insert(region);
}

Region* Shelf::FindContaining(const Range& range) {
  const auto after = set_.upper_bound(range.start, StartsBefore());
  if (after == set_.begin()) return nullptr;
  Region& candidate = *std::prev(after);
  return candidate.range.Contains(range) ? &candidate : nullptr;
}

RegionSet::iterator Shelf::FirstOverlapping(const Range& range) {
  auto first = set_.lower_bound(range.start, StartsBefore());
  while (first != set_.begin() && std::prev(first)->range.end > range.start) --first;
  return first;
}

Region* RegionIndex::Find(const Range& range, Access access, bool exact) {
  if (exact) return exact_.FindEqual(range, access);
  const std::size_t asked = ShelfOf(access);
  for (const std::size_t more : {std::size_t{0}, kWrite, kBind, kWrite | kBind}) {
    if ((asked & more) != 0) continue;  // That shelf was or will be looked at without `more`.
    if (Region* found = shelves_[asked | more].FindContaining(range)) return found;
  }
  return nullptr;
}

void RegionIndex::CheckInvariants() {
  for (std::size_t at = 0; at < kShelves; ++at) {
    const Region* previous = nullptr;
    for (const Region& region : shelves_[at].all()) {
      LINCHPIN_CHECK(region.state == RegionState::kLive && region.use.shared && !region.use.exact);
      LINCHPIN_CHECK(ShelfOf(region.access) == at &&
                     region.range.Contains(region.asked_or_changed));
      LINCHPIN_CHECK(previous == nullptr || (previous->range.start < region.range.start &&
                                             previous->range.end < region.range.end));
      previous = &region;
    }
  }
  for (const Region& region : exact_.all()) {
    LINCHPIN_CHECK(region.state == RegionState::kLive && region.use.shared && region.use.exact);
  }
  for (const Region& region : pending_.all()) {
    LINCHPIN_CHECK(region.state == RegionState::kRegistering ||
                   region.state == RegionState::kCollided);
  }
  for (const Region& region : aside_.all()) {
    LINCHPIN_CHECK(region.state == RegionState::kStale ||
                   (region.state == RegionState::kLive && (!region.use.shared || region.retiring)));
  }
}

}  // namespace linchpin::internal
