#include "bench/contenders/map_contender.h"

#include <cstddef>
#include <cstdint>

namespace linchpin::bench {

MapContender::Claim MapContender::Register(std::uintptr_t start, std::size_t length) {
  const Range range{start, start + length};
  return &*live_.emplace(start, Region{range.end, device_.Register(range), 1, false}).first;
}

void MapContender::Destroy(Claim claim) {
  const auto [first, last] = dead_.equal_range(claim->first);
  for (auto region = first; region != last; ++region) {
    if (&*region != claim) continue;
    device_.Deregister();
    dead_.erase(region);
    return;
  }
}

}  // namespace linchpin::bench
