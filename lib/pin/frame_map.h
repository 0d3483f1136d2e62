// FrameMap: how many pins of this process are on each page frame, of those pins whose frames were
// looked at. Two mappings of one file pin one frame twice.
//
// Thread-safety: all calls may be made at once from any threads. A forked child has its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "lib/base/mutex.h"

namespace linchpin::internal {

class FrameMap final {
 public:
  // 16 GiB of small pages, in some 200 MB of memory.
  static constexpr std::size_t kFramesMax = std::size_t{1} << 22;

  static FrameMap& OfProcess();

  explicit FrameMap(std::size_t frames_max = kFramesMax) : frames_max_(frames_max) {}
  FrameMap(const FrameMap&) = delete;
  FrameMap& operator=(const FrameMap&) = delete;
  ~FrameMap() = default;

  // Counts one pin on each of `frames`; 0 is none, and one that is there twice counts once.
  // Returns: false, with nothing counted, when there would be more than are kept.
  bool Add(const std::vector<std::uint64_t>& frames);
  void Remove(const std::vector<std::uint64_t>& frames);  // What was added.

  // For each of `frames`, whether more than one pin is on it.
  std::vector<bool> FindShared(const std::vector<std::uint64_t>& frames) const;

  std::size_t size() const;

 private:
  const std::size_t frames_max_;

  mutable Mutex mutex_;  // No other lock is taken under it.
  std::unordered_map<std::uint64_t, std::uint32_t> pins_ ABSL_GUARDED_BY(mutex_);  // Never 0.
};

}  // namespace linchpin::internal
