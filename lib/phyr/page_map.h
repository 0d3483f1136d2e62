// PageMap: where the pages of a process are, from its /proc/PID/pagemap.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/fork_closed_fd.h"
#include "linchpin/phyr.h"

namespace linchpin::internal {

// An entry of a page map, as Documentation/admin-guide/mm/pagemap.rst says.
struct PageMapEntry {
  static constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55) - 1;
  static constexpr std::uint64_t kAbsent = 0;
  static constexpr std::uint64_t kGuard = std::uint64_t{1} << 58;  // MADV_GUARD_INSTALL, from 6.15.
  static constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;

  std::uint64_t word;

  bool present() const { return (word & kPresent) != 0; }
  bool swapped() const { return (word & kSwapped) != 0; }  // Or just being moved.
  bool guarded() const { return (word & kGuard) != 0; }

  // 0 when it may not be seen, or the page is not there.
  std::uint64_t frame() const { return present() ? word & kFrameMask : 0; }

  // Where the page is: kPresent and the frame; kSwapped; or kAbsent, which a guard page is too.
  std::uint64_t place() const {
    if (present()) return word & (kPresent | kFrameMask);
    return guarded() ? kAbsent : word & kSwapped;
  }
};
static_assert(sizeof(PageMapEntry) == 8);

// What it may see was decided when it was opened. Not to be used in a forked child, which has no
// copy of it.
//
// Thread-safety: const calls may be made at once from any threads.
class PageMap final {
 public:
  PageMap() = default;  // Of nobody.

  // Of process `pid`; 0 is the process that calls.
  // Returns: NotFound without such a process; PermissionDenied or Unavailable, with what to do.
  static absl::StatusOr<PageMap> Open(pid_t pid);

  // Whether this process may see frame numbers: CAP_SYS_ADMIN.
  bool shows_frames() const { return shows_frames_; }

  // Reads the entries of the pages from number `page` on; 0 where there is no address space any
  // more. Takes no lock, and allocates on an error only.
  // Returns: NotFound when the process is gone; Unavailable.
  absl::Status ReadEntries(std::uint64_t page, std::span<PageMapEntry> entries) const;

  // What the mapping around a range says of it.
  struct Kind {
    std::uint64_t page_size = 4096;      // The mapping's, in bytes: huge for hugetlb.
    PhyrFlags flags = PhyrFlags::kNone;  // Of each entry that is there.
    bool left_out = false;               // Of the page map: what it calls absent may be there.
  };

  // Appends `range`, which lies in one mapping, to the list.
  absl::Status Read(Range range, Kind kind, PhyrList& list) const;

 private:
  PageMap(int fd, pid_t pid) : fd_(fd), pid_(pid) {}

  class Runs;

  ForkClosedFd fd_;
  pid_t pid_ = 0;
  bool shows_frames_ = false;
};

}  // namespace linchpin::internal
