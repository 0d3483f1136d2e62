#include "lib/pin/frame_sample.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "lib/memory/mapping.h"
#include "lib/pin/frame_map.h"

namespace linchpin::internal {
namespace {

constexpr std::size_t kPagesAtOnce = 256;  // Compared, on the stack.

}  // namespace

FrameSample::FrameSample(const PageMap& map, Range range, bool private_pages)
    : first_page_(range.start / BasePageSize()), private_pages_(private_pages) {
  auto frames = ReadFrames(map, range);
  if (!frames.ok()) return;
  frames_ = *std::move(frames);
  counted_ = FrameMap::OfProcess().Add(frames_);
}

void FrameSample::EndPin() {
  if (std::exchange(counted_, false)) FrameMap::OfProcess().Remove(frames_);
}

FrameSample::Comparison FrameSample::Compare(const PageMap& map, Range asked, Pages pages) const {
  if (!readable() || asked.empty()) return {};
  const std::uint64_t first = asked.start / BasePageSize();
  const std::uint64_t last = (asked.end - 1) / BasePageSize();
  if (pages == Pages::kAll || last - first <= 1) return CompareRun(map, first, last);
  const Comparison start = CompareRun(map, first, first);
  return start.finding == Finding::kSame ? CompareRun(map, last, last) : start;
}

FrameSample::Comparison FrameSample::CompareRun(const PageMap& map, std::uint64_t first,
                                                std::uint64_t last) const {
  std::array<PageMapEntry, kPagesAtOnce> entries;  // NOLINT: written before it is read.
  for (std::uint64_t page = first; page <= last;) {
    const std::size_t count = std::min<std::uint64_t>(last - page + 1, kPagesAtOnce);
    if (!map.ReadEntries(page, std::span(entries).first(count)).ok()) return {};
    for (std::size_t i = 0; i < count; ++i, ++page) {
      const std::uint64_t then = frames_[page - first_page_];
      if (!Moved(then, entries[i])) continue;
      const std::uintptr_t start = page * BasePageSize();
      return {Finding::kDifferent, {start, start + BasePageSize()}, then, entries[i].frame()};
    }
  }
  return {Finding::kSame, {}, 0, 0};
}

// An entry of swap says nothing: a pinned page too has one for a moment, while the kernel tries to
// move it, or if it was in the swap cache when it was pinned. Nor does a page of a file that is not
// there, which may only be gone from this page table.
bool FrameSample::Moved(std::uint64_t then, PageMapEntry entry) const {
  if (then == 0) return false;
  if (entry.present()) return entry.frame() != then;
  if (entry.guarded()) return true;
  return !entry.swapped() && private_pages_;
}

}  // namespace linchpin::internal
