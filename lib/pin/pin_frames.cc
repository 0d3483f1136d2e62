// Pin: the frames behind it.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/process.h"
#include "lib/memory/mapping.h"
#include "lib/pin/frame_map.h"
#include "lib/pin/page_frames.h"
#include "lib/pin/pin.h"

namespace linchpin::internal {

absl::Status Pin::Sample() {
  if (frames_.load(std::memory_order_acquire) != nullptr) return absl::OkStatus();
  if (!IsOurs()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the frames of ", range_.ToString(),
                     " were not looked at before this process was forked; do so in the parent"));
  }
  const MutexLock lock(sampling_);
  if (frames_.load(std::memory_order_relaxed) != nullptr) return absl::OkStatus();
  auto read = ReadPageFrames(range_);
  if (!read.ok()) return read.status();
  auto frames = std::make_unique<const Frame>(*std::move(read));
  if (!frames_over_) frames_counted_ = FrameMap::OfProcess().Add(*frames);
  frames_.store(frames.release(), std::memory_order_release);
  return absl::OkStatus();
}

void Pin::TakeDownFrames() {
  const MutexLock lock(sampling_);
  frames_over_ = true;
  if (std::exchange(frames_counted_, false)) FrameMap::OfProcess().Remove(*frames_.load());
}

absl::StatusOr<std::vector<std::uint64_t>> Pin::Frames() {
  if (absl::Status sampled = Sample(); !sampled.ok()) return sampled;
  return *frames_.load(std::memory_order_acquire);
}

absl::StatusOr<std::vector<Range>> Pin::SharedFrames() {
  if (absl::Status sampled = Sample(); !sampled.ok()) return sampled;
  if (!IsOurs()) {
    return absl::FailedPreconditionError(
        "the pin belongs to the process that this one was forked from; ask there");
  }
  {
    const MutexLock lock(sampling_);
    if (!frames_counted_ && !frames_over_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("more than ", FrameMap::kFramesMax,
                       " frames of pins are sampled; sample fewer or smaller pins"));
    }
  }
  return PagesWhere(FrameMap::OfProcess().FindShared(*frames_.load(std::memory_order_acquire)));
}

absl::StatusOr<std::vector<Range>> Pin::MovedFrames() {
  if (absl::Status sampled = Sample(); !sampled.ok()) return sampled;
  const Frame& then = *frames_.load(std::memory_order_acquire);
  auto now = ReadPageFrames(range_);
  if (!now.ok()) return now.status();
  std::vector<bool> moved(then.size());
  for (std::size_t i = 0; i < then.size(); ++i) moved[i] = then[i] != 0 && then[i] != (*now)[i];
  return PagesWhere(moved);
}

// Returns: those pages of the range, cut to it, with neighbours as one.
std::vector<Range> Pin::PagesWhere(const std::vector<bool>& chosen) const {
  const std::uintptr_t page_bytes = BasePageSize();
  const std::uintptr_t first = range_.start - range_.start % page_bytes;
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!chosen[i]) continue;
    const std::uintptr_t page = first + i * page_bytes;
    const Range inside{std::max(page, range_.start), std::min(page + page_bytes, range_.end)};
    if (!ranges.empty() && ranges.back().end == inside.start) {
      ranges.back().end = inside.end;
    } else {
      ranges.push_back(inside);
    }
  }
  return ranges;
}

}  // namespace linchpin::internal
