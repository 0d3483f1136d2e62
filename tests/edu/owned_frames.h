// Which physical memory a test owns, so that no device is sent anywhere else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/mutex.h"
#include "linchpin/range.h"

namespace linchpin::testing {

// What a device is given: a bus address, which is the physical one where there is no IOMMU.
struct BusRange {
  std::uint64_t address = 0;
  std::size_t bytes = 0;

  bool operator==(const BusRange&) const = default;
};

// Of Documentation/admin-guide/mm/pagemap.rst, the flags of /proc/kpageflags that tests look at.
inline constexpr std::uint64_t kFlagHugetlb = std::uint64_t{1} << 17;
inline constexpr std::uint64_t kFlagTransparentHuge = std::uint64_t{1} << 22;
inline constexpr std::uint64_t kFlagZeroPage = std::uint64_t{1} << 24;

// Returns: what the kernel says of each of the pages; otherwise why it cannot be asked.
absl::StatusOr<std::vector<std::uint64_t>> KernelPageFlags(std::span<const std::uint64_t> frames);

// The page frames of memory that the test has pinned. Looked up in the page map frame by frame, not
// through the lists that are under test: a list that is wrong is refused, and nobody is harmed.
//
// Thread-safety: all calls may be made at once from any threads.
class OwnedFrames final {
 public:
  // The frames behind `pinned`, as they are now. Requires: they are pinned, and stay so until
  // Remove of what this returns.
  // Returns: the frame of each page; FailedPrecondition when there is none, or only the kernel's
  // page of zeros; otherwise why they cannot be seen.
  absl::StatusOr<std::vector<std::uint64_t>> Add(Range pinned);
  // Of memory that a device has, and nobody but this test uses. Returns: as above.
  std::vector<std::uint64_t> AddDevice(BusRange memory);
  void Remove(const std::vector<std::uint64_t>& frames);

  bool Contain(BusRange range) const;

 private:
  mutable Mutex mutex_;
  std::map<std::uint64_t, int> frames_ ABSL_GUARDED_BY(mutex_);  // How often each was added.
};

// The frames behind a range, owned for as long as this lives. Requires: as OwnedFrames::Add.
class OwnedRange final {
 public:
  OwnedRange(OwnedFrames& owned, Range pinned)
      : owned_(owned), pinned_(pinned), frames_(owned.Add(pinned)) {}
  ~OwnedRange() {
    if (frames_.ok()) owned_.Remove(*frames_);
  }
  OwnedRange(const OwnedRange&) = delete;
  OwnedRange& operator=(const OwnedRange&) = delete;

  const absl::Status& status() const { return frames_.status(); }
  // Of each page. Requires: status() is OK, here and below.
  const std::vector<std::uint64_t>& frames() const { return *frames_; }
  // Where byte `offset` of the range is.
  std::uint64_t BusAddress(std::size_t offset) const;

 private:
  OwnedFrames& owned_;
  const Range pinned_;
  const absl::StatusOr<std::vector<std::uint64_t>> frames_;
};

}  // namespace linchpin::testing
