// PageMap: where the pages of a process are, from its /proc/PID/pagemap.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/fd.h"
#include "linchpin/phyr.h"

namespace linchpin::internal {

// An entry of a page map, as Documentation/admin-guide/mm/pagemap.rst says.
struct PageMapEntry {
  static constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55) - 1;
  static constexpr std::uint64_t kAbsent = 0;
  static constexpr std::uint64_t kSwapped = std::uint64_t{1} << 62;
  static constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;

  std::uint64_t word;

  bool present() const { return (word & kPresent) != 0; }
  std::uint64_t frame() const { return word & kFrameMask; }  // 0 when it may not be seen.

  // Where the page is: kPresent and the frame; kSwapped; or kAbsent.
  std::uint64_t place() const {
    return present() ? word & (kPresent | kFrameMask) : word & kSwapped;
  }
};
static_assert(sizeof(PageMapEntry) == 8);

// Thread-safety: const calls may be made at once from any threads. Of the process that opened it: a
// forked child must open its own.
class PageMap final {
 public:
  // Of process `pid`; 0 is the process that calls.
  // Returns: NotFound without such a process; PermissionDenied or Unavailable, with what to do.
  static absl::StatusOr<PageMap> Open(pid_t pid);

  // Whether this process may see frame numbers: CAP_SYS_ADMIN.
  bool shows_frames() const { return shows_frames_; }

  // Reads the entries of the pages from number `page` on. Returns: how many there were, fewer than
  // asked for only at the end of the address space; NotFound when the process is gone.
  absl::StatusOr<std::size_t> ReadEntries(std::uint64_t page,
                                          std::span<PageMapEntry> entries) const;

  // What the mapping around a range says of it.
  struct Kind {
    std::uint64_t page_size = 4096;      // The mapping's, in bytes: huge for hugetlb.
    PhyrFlags flags = PhyrFlags::kNone;  // Of each entry that is there.
  };

  // Appends `range`, which lies in one mapping, to the list.
  absl::Status Read(Range range, Kind kind, PhyrList& list) const;

 private:
  PageMap(Fd fd, Fd page_flags, bool shows_frames)
      : fd_(std::move(fd)), page_flags_(std::move(page_flags)), shows_frames_(shows_frames) {}

  class Runs;

  Fd fd_;
  Fd page_flags_;  // /proc/kpageflags; invalid when this process may not read it.
  bool shows_frames_;
};

}  // namespace linchpin::internal
