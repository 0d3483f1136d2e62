#include "lib/pin/page_frames.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/memory/mapping.h"

namespace linchpin::internal {
namespace {

absl::Status Unreadable(int error) {
  return absl::UnavailableError(
      absl::StrCat("/proc/self/pagemap: ", ErrnoText(error), "; mount /proc"));
}

}  // namespace

absl::StatusOr<PageMapFile> PageMapFile::Open() {
  PageMapFile map(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!map.fd_.valid()) return Unreadable(errno);
  // Without privilege all frames read 0; a page that is surely there tells that from none.
  std::uint64_t here = 0;
  const std::uint64_t stack = reinterpret_cast<std::uintptr_t>(&here) / BasePageSize();
  if (const int error = map.Read(stack, {&here, 1}); error != 0) return Unreadable(error);
  if ((here & page_entry::kFrameMask) == 0) {
    return absl::PermissionDeniedError(
        "/proc/self/pagemap shows no frame numbers to this process; give it CAP_SYS_ADMIN");
  }
  return map;
}

int PageMapFile::Read(std::uint64_t page, std::span<std::uint64_t> entries) const {
  auto* bytes = reinterpret_cast<char*>(entries.data());
  std::size_t left = entries.size_bytes();
  auto offset = static_cast<off_t>(page * sizeof(std::uint64_t));
  while (left > 0) {
    constexpr std::size_t kReadMax = 256 << 10;  // The kernel holds the mmap lock in steps.
    const ssize_t read = pread(fd_.get(), bytes, std::min(left, kReadMax), offset);
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return read == 0 ? EIO : errno;
    bytes += read;
    offset += read;
    left -= static_cast<std::size_t>(read);
  }
  return 0;
}

absl::StatusOr<std::vector<std::uint64_t>> PageMapFile::ReadFrames(Range range) const {
  const std::uint64_t page_bytes = BasePageSize();
  const std::uint64_t first = range.start / page_bytes;
  const std::uint64_t last = (range.end - 1) / page_bytes;
  std::vector<std::uint64_t> frames(range.empty() ? 0 : last - first + 1);
  if (const int error = Read(first, frames); error != 0) return Unreadable(error);
  for (std::uint64_t& frame : frames) frame = page_entry::FrameOf(frame);
  return frames;
}

absl::StatusOr<std::vector<std::uint64_t>> ReadPageFrames(Range range) {
  const absl::StatusOr<PageMapFile> map = PageMapFile::Open();
  if (!map.ok()) return map.status();
  return map->ReadFrames(range);
}

}  // namespace linchpin::internal
