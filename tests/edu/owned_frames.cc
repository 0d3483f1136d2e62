#include "tests/edu/owned_frames.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

// Documentation/admin-guide/mm/pagemap.rst.
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55) - 1;

absl::StatusOr<std::vector<std::uint64_t>> ReadWords(const char* path, std::uint64_t first,
                                                     std::size_t count) {
  const Fd file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoToStatus(errno, path, "be root");
  std::vector<std::uint64_t> words(count);
  const std::size_t bytes = count * sizeof words[0];
  const ssize_t got =
      pread(file.get(), words.data(), bytes, static_cast<off_t>(first * sizeof words[0]));
  if (got < 0) return ErrnoToStatus(errno, path, "be root");
  if (static_cast<std::size_t>(got) != bytes) return absl::DataLossError(path);
  return words;
}

}  // namespace

absl::StatusOr<std::uint64_t> KernelPageFlags(std::uint64_t frame) {
  const auto flags = ReadWords("/proc/kpageflags", frame, 1);
  if (!flags.ok()) return flags.status();
  return flags->front();
}

absl::StatusOr<std::vector<std::uint64_t>> OwnedFrames::Add(Range pinned) {
  const std::uint64_t first = pinned.start / kPage;
  auto frames = ReadWords("/proc/self/pagemap", first, (pinned.end - 1) / kPage - first + 1);
  if (!frames.ok()) return frames.status();
  for (std::uint64_t& frame : *frames) {
    const bool present = (frame & kPresent) != 0;
    frame &= kFrameMask;
    if (!present || frame == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(pinned.ToString(), ": a page is not there, or its frame is hidden"));
    }
    const auto flags = KernelPageFlags(frame);
    if (!flags.ok()) return flags.status();
    if ((*flags & kFlagZeroPage) != 0) {
      return absl::FailedPreconditionError(absl::StrCat(pinned.ToString(), ": has the zero page"));
    }
  }
  const MutexLock lock(mutex_);
  for (const std::uint64_t frame : *frames) ++frames_[frame];
  return frames;
}

void OwnedFrames::Remove(const std::vector<std::uint64_t>& frames) {
  const MutexLock lock(mutex_);
  for (const std::uint64_t frame : frames) {
    const auto found = frames_.find(frame);
    if (--found->second == 0) frames_.erase(found);
  }
}

bool OwnedFrames::Contain(BusRange range) const {
  const MutexLock lock(mutex_);
  if (range.bytes == 0) return false;
  const std::uint64_t last = (range.address + range.bytes - 1) / kPage;
  for (std::uint64_t frame = range.address / kPage; frame <= last; ++frame) {
    if (!frames_.contains(frame)) return false;
  }
  return true;
}

}  // namespace linchpin::testing
