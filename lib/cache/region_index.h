// RegionIndex: finds regions by the memory they cover. Allocates nothing.
#pragma once

#include <array>
#include <cstddef>

#include "boost/intrusive/options.hpp"
#include "boost/intrusive/set.hpp"

#include "lib/cache/region.h"
#include "linchpin/access.h"
#include "linchpin/range.h"

namespace linchpin::internal {

struct ByRange {
  bool operator()(const Region& a, const Region& b) const {
    if (a.range.start != b.range.start) return a.range.start < b.range.start;
    return a.range.end < b.range.end;
  }
};

using RegionSet = boost::intrusive::multiset<
    Region, boost::intrusive::member_hook<Region, Region::SetHook, &Region::set>,
    boost::intrusive::compare<ByRange>, boost::intrusive::constant_time_size<false>>;

// Regions that may overlap in any way. A walk over those that overlap a range begins as far before
// it as the largest region ever put in could reach.
//
// Invariant: size of every member <= largest_. It starts afresh whenever the set runs empty.
class OverlapSet {
 public:
  void Insert(Region& region);

  // Calls visit(region) for each member that overlaps `range`; visit may unlink that region.
  template <typename Visit>
  void ForEachOverlapping(const Range& range, Visit visit) {
    if (set_.empty()) return;
    for (auto at = FirstCandidate(range); at != set_.end() && at->range.start < range.end;) {
      Region& region = *at++;
      if (region.range.Overlaps(range)) visit(region);
    }
  }

  // Returns: a member of exactly `range` and `access`, or null.
  Region* FindEqual(const Range& range, Access access);

  RegionSet& all() { return set_; }

 private:
  RegionSet::iterator FirstCandidate(const Range& range);

  RegionSet set_;
  std::size_t largest_ = 0;
};

// Local regions of one set of rights.
//
// Invariant: no member contains another. So members in order of start are in order of end too: the
// last one that begins at or before an address is the only one that need be asked whether it
// contains a range there, and those that overlap a range are neighbours.
class Shelf {
 public:
  // Requires: no member contains `region` or is contained in it.
  void Insert(Region& region);

  // Returns: the member that contains `range`, or null.
  Region* FindContaining(const Range& range);

  template <typename Visit>
  void ForEachOverlapping(const Range& range, Visit visit) {
    if (set_.empty()) return;  // Most are: no call for them.
    for (auto at = FirstOverlapping(range); at != set_.end() && at->range.start < range.end;) {
      visit(*at++);
    }
  }

  RegionSet& all() { return set_; }

 private:
  RegionSet::iterator FirstOverlapping(const Range& range);

  RegionSet set_;
};

// Every region that is not dead, each in one place:
//
//   pending  Registering or Collided
//   shelves  Live, shared, local: a shelf for each combination of rights, ordering, on-demand-ness
//   exact    Live, shared, with remote rights
//   aside    Live but not shared, or retiring, or Stale: found by no Acquire, but told when its
//   mapping changes
class RegionIndex {
 public:
  static constexpr std::size_t kShelves = 16;

  // Returns: the Live region that serves the request, or null. `exact` requests are served by their
  // own bytes and rights only; others by what contains them with the same ordering and
  // on-demand-ness and at least their rights.
  Region* Find(const Range& range, Access access, bool exact);

  // Calls visit(region) for each local region that shares ordering and on-demand-ness with `access`
  // and overlaps `range`.
  template <typename Visit>
  void ForEachComparable(const Range& range, Access access, Visit visit) {
    for (std::size_t shelf = 0; shelf < kShelves; ++shelf) {
      if ((shelf & kKindMask) == (ShelfOf(access) & kKindMask)) {
        shelves_[shelf].ForEachOverlapping(range, visit);
      }
    }
  }

  // Calls visit(region) for each region that overlaps `range`; visit may unlink that region, and
  // must not insert into the index except into aside().
  template <typename Visit>
  void ForEachOverlapping(const Range& range, Visit visit) {
    aside_.ForEachOverlapping(range, visit);  // First, for what visit moves here was visited.
    pending_.ForEachOverlapping(range, visit);
    exact_.ForEachOverlapping(range, visit);
    for (Shelf& shelf : shelves_) shelf.ForEachOverlapping(range, visit);
  }

  template <typename Visit>
  void ForEach(Visit visit) {
    for (auto* set : {&aside_.all(), &pending_.all(), &exact_.all()}) {
      for (auto at = set->begin(); at != set->end();) visit(*at++);
    }
    for (Shelf& shelf : shelves_) {
      for (auto at = shelf.all().begin(); at != shelf.all().end();) visit(*at++);
    }
  }

  Shelf& shelf(Access access) { return shelves_[ShelfOf(access)]; }
  OverlapSet& exact() { return exact_; }
  OverlapSet& pending() { return pending_; }
  OverlapSet& aside() { return aside_; }

  // Checks the invariants above. For tests: takes time in proportion to the regions.
  void CheckInvariants();

 private:
  static constexpr std::size_t kWrite = 1;
  static constexpr std::size_t kBind = 2;
  static constexpr std::size_t kOnDemand = 4;
  static constexpr std::size_t kRelaxed = 8;
  static constexpr std::size_t kKindMask = kOnDemand | kRelaxed;

  static constexpr std::size_t ShelfOf(Access access) {
    return (Any(access & Access::kLocalWrite) ? kWrite : 0) |
           (Any(access & Access::kMwBind) ? kBind : 0) |
           (Any(access & Access::kOnDemand) ? kOnDemand : 0) |
           (Any(access & Access::kRelaxedOrdering) ? kRelaxed : 0);
  }

  std::array<Shelf, kShelves> shelves_;
  OverlapSet exact_;
  OverlapSet pending_;
  OverlapSet aside_;
};

}  // namespace linchpin::internal
