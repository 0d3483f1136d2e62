#include "lib/pin/frame_map.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "lib/base/check.h"
#include "lib/base/process.h"

namespace linchpin::internal {
namespace {

// A forked child makes a map of its own: the mutex of the one it inherits may be held for ever.
struct Owned {
  std::uint64_t cookie = 0;
  Owned* previous = nullptr;  // The parent's, kept reachable.
  FrameMap map;
};

std::atomic<Owned*> newest_map{nullptr};

std::vector<std::uint64_t> Distinct(std::vector<std::uint64_t> frames) {
  std::sort(frames.begin(), frames.end());
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  if (!frames.empty() && frames.front() == 0) frames.erase(frames.begin());
  return frames;
}

}  // namespace

FrameMap& FrameMap::OfProcess() {
  Owned* newest = newest_map.load(std::memory_order_acquire);
  while (newest == nullptr || newest->cookie != ProcessCookie()) {
    auto made = std::make_unique<Owned>();
    made->cookie = ProcessCookie();
    made->previous = newest;
    if (newest_map.compare_exchange_strong(newest, made.get(), std::memory_order_acq_rel)) {
      newest = made.release();
    }
  }
  return newest->map;
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
