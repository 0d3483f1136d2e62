// Where the regions of the cache begin and end, for who acquires a long range in pieces.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {
namespace {

constexpr std::size_t kFirstLook = 64 << 10;

}  // namespace

std::uintptr_t CacheCore::NextBorder(const Range& range, Access access) {
  if (options_.mode == Mode::kOff || Any(access & kRemoteRights) || Inherited()) return range.end;
  const NoAllocationLock lock(mutex_);
  std::uintptr_t border = range.start;
  while (border < range.end) {  // Each that is found serves more than the one before.
    const Region* const found = index_.Find({range.start, border + 1}, access, false);
    if (found == nullptr) break;
    border = found->range.end;
  }
  if (border > range.start) return std::min(border, range.end);
  // Ever further: there may be many regions behind the one that is looked for.
  border = range.end;
  for (std::size_t look = kFirstLook; border == range.end; look *= 2) {
    const bool all = look >= range.size() / 2;
    const Range near{range.start, all ? range.end : range.start + look};
    index_.ForEachComparable(near, access, [&](const Region& region) {
      const bool serves = !Any(access & ~region.access) && region.range.start > range.start;
      if (serves) border = std::min(border, region.range.start);
    });
    if (all) break;
  }
  return border;
}

}  // namespace linchpin::internal
