#include "lib/pin/page_frames.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "lib/memory/mapping.h"

namespace linchpin::internal {
namespace {

// Documentation/admin-guide/mm/pagemap.rst.
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55) - 1;

absl::Status Unreadable(int error) {
  return absl::UnavailableError(
      absl::StrCat("/proc/self/pagemap: ", ErrnoText(error), "; mount /proc"));
}

// Reads the entries of the pages from `page` on. Returns: 0 or an errno.
int ReadEntries(int pagemap, std::uint64_t page, std::uint64_t* entries, std::size_t count) {
  auto* bytes = reinterpret_cast<char*>(entries);
  std::size_t left = count * sizeof *entries;
  auto offset = static_cast<off_t>(page * sizeof *entries);
  while (left > 0) {
    constexpr std::size_t kReadMax = 256 << 10;  // The kernel holds the mmap lock in steps.
    const ssize_t read = pread(pagemap, bytes, std::min(left, kReadMax), offset);
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return read == 0 ? EIO : errno;
    bytes += read;
    offset += read;
    left -= static_cast<std::size_t>(read);
  }
  return 0;
}

}  // namespace

absl::StatusOr<std::vector<std::uint64_t>> ReadPageFrames(Range range) {
  const Fd pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) return Unreadable(errno);
  const std::uint64_t page_bytes = BasePageSize();
  // Without privilege all frames read 0; a page that is surely there tells that from none.
  std::uint64_t here = 0;
  const std::uint64_t stack = reinterpret_cast<std::uintptr_t>(&here) / page_bytes;
  if (const int error = ReadEntries(pagemap.get(), stack, &here, 1); error != 0) {
    return Unreadable(error);
  }
  if ((here & kFrameMask) == 0) {
    return absl::PermissionDeniedError(
        "/proc/self/pagemap shows no frame numbers to this process; give it CAP_SYS_ADMIN");
  }
  const std::uint64_t first = range.start / page_bytes;
  const std::uint64_t end = (range.end + page_bytes - 1) / page_bytes;
  std::vector<std::uint64_t> frames(end - first);
  if (const int error = ReadEntries(pagemap.get(), first, frames.data(), frames.size());
      error != 0) {
    return Unreadable(error);
  }
  for (std::uint64_t& frame : frames) frame = (frame & kPresent) != 0 ? frame & kFrameMask : 0;
  return frames;
}

}  // namespace linchpin::internal
