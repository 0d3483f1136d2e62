#include "lib/pin/page_frames.h"

#include <algorithm>
#include <cstddef>
#include <span>

#include "absl/status/status.h"

#include "lib/memory/mapping.h"

namespace linchpin::internal {
namespace {

constexpr std::size_t kEntriesAtOnce = 4096;

}  // namespace

absl::StatusOr<PageMap> OpenPageMapWithFrames() {
  absl::StatusOr<PageMap> map = PageMap::Open(0);
  if (!map.ok() || map->shows_frames()) return map;
  return absl::PermissionDeniedError(
      "/proc/self/pagemap shows no frame numbers to this process; give it CAP_SYS_ADMIN");
}

absl::StatusOr<std::vector<std::uint64_t>> ReadFrames(const PageMap& map, Range range) {
  std::vector<std::uint64_t> frames;
  if (range.empty()) return frames;
  const std::uint64_t first = range.start / BasePageSize();
  const std::uint64_t pages = (range.end - 1) / BasePageSize() - first + 1;
  frames.reserve(pages);
  std::vector<PageMapEntry> buffer(std::min<std::uint64_t>(pages, kEntriesAtOnce));
  while (frames.size() < pages) {
    const std::span entries =
        std::span(buffer).first(std::min<std::size_t>(buffer.size(), pages - frames.size()));
    if (absl::Status read = map.ReadEntries(first + frames.size(), entries); !read.ok()) {
      return read;
    }
    for (const PageMapEntry& entry : entries) frames.push_back(entry.frame());
  }
  return frames;
}

absl::StatusOr<std::vector<std::uint64_t>> ReadPageFrames(Range range) {
  const absl::StatusOr<PageMap> map = OpenPageMapWithFrames();
  if (!map.ok()) return map.status();
  return ReadFrames(*map, range);
}

}  // namespace linchpin::internal
