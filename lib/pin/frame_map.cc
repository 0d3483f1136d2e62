#include "lib/pin/frame_map.h"

#include <algorithm>

#include "lib/base/check.h"
#include "lib/base/of_process.h"

namespace linchpin::internal {
namespace {

constinit linchpin::OfProcess<FrameMap> own_map;

std::vector<std::uint64_t> Distinct(std::vector<std::uint64_t> frames) {
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  if (!frames.empty() && frames.front() == 0) frames.erase(frames.begin());
  return frames;
}

}  // namespace

FrameMap& FrameMap::OfProcess() {
  return own_map.Get();
}

bool FrameMap::Add(const std::vector<std::uint64_t>& frames) {
  const std::vector<std::uint64_t> distinct = Distinct(frames);
  const MutexLock lock(mutex_);
  if (distinct.size() > frames_max_ - std::min(frames_max_, pins_.size())) return false;
  for (const std::uint64_t frame : distinct) ++pins_[frame];
  return true;
}

void FrameMap::Remove(const std::vector<std::uint64_t>& frames) {
  const std::vector<std::uint64_t> distinct = Distinct(frames);
  const MutexLock lock(mutex_);
  for (const std::uint64_t frame : distinct) {
    const auto found = pins_.find(frame);
    LINCHPIN_CHECK(found != pins_.end());
    if (--found->second == 0) pins_.erase(found);
  }
}

std::vector<bool> FrameMap::FindShared(const std::vector<std::uint64_t>& frames) const {
  std::vector<bool> shared(frames.size());
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto found = pins_.find(frames[i]);
    shared[i] = found != pins_.end() && found->second > 1;
  }
  return shared;
}

std::size_t FrameMap::size() const {
  const MutexLock lock(mutex_);
  return pins_.size();
}

}  // namespace linchpin::internal
