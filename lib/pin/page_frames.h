// Page frames: which physical pages are behind a range of this process's addresses, now.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/fork_closed_fd.h"
#include "linchpin/range.h"

namespace linchpin::internal {

// An entry of the page map: Documentation/admin-guide/mm/pagemap.rst.
namespace page_entry {
inline constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55) - 1;  // Of one present.
inline constexpr std::uint64_t kGuard = std::uint64_t{1} << 58;  // From MADV_GUARD_INSTALL, 6.15+.
inline constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;  // Or just being moved.
inline constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;

// Returns: the frame number; 0 for a page that is not there.
constexpr std::uint64_t FrameOf(std::uint64_t entry) {
  return (entry & kPresent) != 0 ? entry & kFrameMask : 0;
}
}  // namespace page_entry

// This process's page map, kept open: one system call for each look. What it may see was decided
// when it was opened. Not to be used in a forked child, which has no copy of it.
//
// Thread-safety: const calls may be made at once from any threads.
class PageMapFile final {
 public:
  PageMapFile() = default;  // Reads nothing.

  // Returns: PermissionDenied, with what to do, when this process may not see frame numbers;
  // Unavailable when /proc/self/pagemap cannot be read.
  static absl::StatusOr<PageMapFile> Open();

  // Reads the entries of the pages from number `page` on. Neither allocates nor takes a lock.
  // Returns: 0, or an errno.
  int Read(std::uint64_t page, std::span<std::uint64_t> entries) const;

  // Returns: the frame number of each page of BasePageSize that `range` touches, in order; 0 for a
  // page that is not there; Unavailable when the page map cannot be read.
  absl::StatusOr<std::vector<std::uint64_t>> ReadFrames(Range range) const;

 private:
  explicit PageMapFile(int fd) : fd_(fd) {}

  ForkClosedFd fd_;
};

// The same by a page map opened for the purpose. Returns: as Open and ReadFrames.
absl::StatusOr<std::vector<std::uint64_t>> ReadPageFrames(Range range);

}  // namespace linchpin::internal
