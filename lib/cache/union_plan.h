// What to register for a miss: the request's own pages, or the union with regions it overlaps.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

#include "lib/cache/region_index.h"
#include "linchpin/access.h"
#include "linchpin/range.h"

namespace linchpin::internal {

// A union is at most this many times the size of the request that makes it. So a small request
// beside a huge region registers anew a little, never all of it.
inline constexpr std::size_t kUnionGrowth = 16;

struct Plan {
  Range range;  // Whole pages.
  Access access = Access::kLocalRead;
  Range asked;         // The hull of the requests it is made for.
  bool alone = false;  // No region of its kind overlaps it.
};

struct PlanLimits {
  Range extent;  // Kind, borders and protection are the same in here; contains the request.
  std::uint64_t max_region_bytes = 0;
  std::uint64_t room_bytes = 0;  // Growth must not crowd out what else is kept idle.
  double max_waste = 0;          // The share of a union that may lie outside of `asked`.
  std::size_t page_size = 4096;
};

// Plans the registration of a local request, given as whole pages within `limits.extent`.
//
// Held regions cannot grow in place, so each new union pins what the old ones still pin. Windows
// that slide over n bytes must nevertheless pin O(n), not O(n^2): a union grows past what was
// asked, in the direction of the request, as far as max_waste allows. A union with a region that
// somebody holds must be twice its size, or end at a border, which can happen once a side: so all
// of them together are about twice the last. Where it cannot be, and past kUnionGrowth times the
// request, the request is registered alone.
//
// A request for more rights within a region plans that whole region with both rights.
//
// Requires: the cache's mutex is held; no region serves the request. Allocates nothing.
// `held` says whether somebody holds a region.
Plan PlanUnion(RegionIndex& index, const Range& request, Access access, const PlanLimits& limits,
               absl::FunctionRef<bool(const Region&)> held);

}  // namespace linchpin::internal
