#include "lib/cache/union_plan.h"

#include <algorithm>

namespace linchpin::internal {
namespace {

Range Hull(const Range& a, const Range& b) {
  return {std::min(a.start, b.start), std::max(a.end, b.end)};
}

std::uint64_t LargestUnion(const Range& request, const PlanLimits& limits) {
  return std::min<std::uint64_t>(limits.max_region_bytes, request.size() * kUnionGrowth);
}

// Extends `plan` beyond its union, on the sides where the request stuck out of what there was.
void Grow(Plan& plan, const Range& before, const Range& request, const PlanLimits& limits) {
  const std::uint64_t most = std::min(LargestUnion(request, limits), limits.room_bytes);
  const double wanted = static_cast<double>(plan.asked.size()) / (1 - limits.max_waste);
  std::uint64_t target =
      wanted < static_cast<double>(most) ? static_cast<std::uint64_t>(wanted) : most;
  target -= target % limits.page_size;
  if (target <= plan.range.size()) return;
  const std::uint64_t room = target - plan.range.size();
  if (request.end > before.end) {
    plan.range.end += std::min<std::uint64_t>(room, limits.extent.end - plan.range.end);
  } else if (request.start < before.start) {
    plan.range.start -= std::min<std::uint64_t>(room, plan.range.start - limits.extent.start);
  }
}

}  // namespace

Plan PlanUnion(RegionIndex& index, const Range& request, Access access, const PlanLimits& limits,
               absl::FunctionRef<bool(const Region&)> held) {
  Plan plan{request, access, request};
  const std::uint64_t largest = LargestUnion(request, limits);
  Range before;                // The hull of the regions merged.
  std::size_t held_bytes = 0;  // The largest of them that someone holds.
  bool upgrades = false;       // One of them lacks nothing but rights.
  bool alone = true;
  bool grew = true;
  while (grew) {
    grew = false;
    const Range around = plan.range;
    index.ForEachComparable(around, access, [&](Region& region) {
      alone = false;
      const bool upgrade = region.range.Contains(request);
      const Range merged = Hull(plan.range, region.range);
      const bool adds =
          merged != plan.range || (region.access & ~plan.access) != Access::kLocalRead;
      if (!adds || !limits.extent.Contains(merged)) return;
      if (merged.size() > (upgrade ? limits.max_region_bytes : largest)) return;
      const bool is_held = held(region);
      const bool could_double = !is_held || region.range.size() <= largest / 2;
      if (!upgrade && !could_double) return;
      before = before.empty() ? region.range : Hull(before, region.range);
      if (is_held) held_bytes = std::max(held_bytes, region.range.size());
      upgrades = upgrades || upgrade;
      plan = {merged, plan.access | region.access, Hull(plan.asked, region.asked_or_changed)};
      grew = true;
    });
  }
  if (alone) return {request, access, request, true};
  if (!before.empty() && !before.Contains(request)) Grow(plan, before, request, limits);
  const bool doubles = plan.range.size() / 2 >= held_bytes;
  const bool at_border = request.end > before.end ? plan.range.end == limits.extent.end
                                                  : plan.range.start == limits.extent.start;
  if (doubles || at_border || upgrades) return plan;
  return {request, access, request};
}

}  // namespace linchpin::internal
