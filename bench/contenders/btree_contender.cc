#include "bench/contenders/btree_contender.h"

namespace linchpin::bench {

BtreeContender::~BtreeContender() {
  for (const auto& [start, region] : live_) delete region;
}

BtreeContender::Claim BtreeContender::Register(Range range) {
  auto* const region = new Region{.range = range, .key = device_.Register(range), .claims = 2};
  const std::scoped_lock lock(mutex_);
  live_.emplace(range.start, region);
  return region;
}

void BtreeContender::Destroy(Claim claim) {
  device_.Deregister();
  delete claim;
}

}  // namespace linchpin::bench
