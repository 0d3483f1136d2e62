#include "tests/edu/owned_frames.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <numeric>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

// Documentation/admin-guide/mm/pagemap.rst.
constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kFrameMask = (std::uint64_t{1} << 55) - 1;

// Files of 64-bit words, one a page.
class WordFile final {
 public:
  explicit WordFile(const char* path) : path_(path), fd_(open(path, O_RDONLY | O_CLOEXEC)) {}

  absl::Status Read(std::uint64_t first, std::span<std::uint64_t> words) const {
    const ssize_t got = pread(fd_.get(), words.data(), words.size_bytes(),
                              static_cast<off_t>(first * sizeof(std::uint64_t)));
    if (got < 0) return ErrnoToStatus(errno, path_, "be root");
    if (static_cast<std::size_t>(got) != words.size_bytes()) return absl::DataLossError(path_);
    return absl::OkStatus();
  }

 private:
  const char* path_;
  Fd fd_;
};

}  // namespace

absl::StatusOr<std::vector<std::uint64_t>> KernelPageFlags(std::span<const std::uint64_t> frames) {
  const WordFile file("/proc/kpageflags");
  std::vector<std::uint64_t> flags(frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (absl::Status status = file.Read(frames[i], {&flags[i], 1}); !status.ok()) return status;
  }
  return flags;
}

absl::StatusOr<std::vector<std::uint64_t>> OwnedFrames::Add(Range pinned) {
  const std::uint64_t first = pinned.start / kPage;
  std::vector<std::uint64_t> frames((pinned.end - 1) / kPage - first + 1);
  if (absl::Status status = WordFile("/proc/self/pagemap").Read(first, frames); !status.ok()) {
    return status;
  }
  for (std::uint64_t& frame : frames) {
    const bool present = (frame & kPresent) != 0;
    frame &= kFrameMask;
    if (present && frame != 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(pinned.ToString(), ": a page is not there, or its frame is hidden"));
  }
  const auto flags = KernelPageFlags(frames);
  if (!flags.ok()) return flags.status();
  for (const std::uint64_t each : *flags) {
    if ((each & kFlagZeroPage) == 0) continue;
    return absl::FailedPreconditionError(absl::StrCat(pinned.ToString(), ": has the zero page"));
  }
  const MutexLock lock(mutex_);
  for (const std::uint64_t frame : frames) ++frames_[frame];
  return frames;
}

std::vector<std::uint64_t> OwnedFrames::AddDevice(BusRange memory) {
  std::vector<std::uint64_t> frames(memory.bytes / kPage);
  std::iota(frames.begin(), frames.end(), memory.address / kPage);
  const MutexLock lock(mutex_);
  for (const std::uint64_t frame : frames) ++frames_[frame];
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

std::uint64_t OwnedRange::BusAddress(std::size_t offset) const {
  const std::size_t at = pinned_.start % kPage + offset;
  return (*frames_)[at / kPage] * kPage + at % kPage;
}

}  // namespace linchpin::testing
