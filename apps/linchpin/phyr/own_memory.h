// Memory of the tool's own, of each kind that physical ranges tell apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

#include "linchpin/range.h"

namespace linchpin {

enum class MemoryKind : std::uint8_t {
  kSmall,            // Touched pages of the smallest size: MADV_NOHUGEPAGE.
  kTransparentHuge,  // Touched where the kernel may give huge pages: MADV_HUGEPAGE.
  kHugetlb,          // Touched huge pages of 2 MiB that were set aside.
  kPartlyTouched,    // All but the third quarter is touched.
  kZero,             // Read, and not to be written: the kernel's page of zeros, again and again.
  kMappedTwice,      // Of a file in memory that is mapped at two places; touched at both.
};
inline constexpr MemoryKind kMemoryKinds[] = {MemoryKind::kSmall,   MemoryKind::kTransparentHuge,
                                              MemoryKind::kHugetlb, MemoryKind::kPartlyTouched,
                                              MemoryKind::kZero,    MemoryKind::kMappedTwice};

const char* ToString(MemoryKind kind);

// Whether a pin leaves it what it is: another kind would be touched by it.
bool CanBePinned(MemoryKind kind);

// Begins and ends at a multiple of 2 MiB, with a page that nobody may touch on either side, so that
// the kernel merges it with no neighbour.
class OwnMemory final {
 public:
  // Returns: the memory, touched as its kind says; otherwise why there is none, with what to do.
  static absl::StatusOr<OwnMemory> Make(MemoryKind kind);

  OwnMemory(OwnMemory&& other) noexcept
      : range_(std::exchange(other.range_, Range())),
        second_(std::exchange(other.second_, Range())),
        reserved_(std::exchange(other.reserved_, Range())) {}
  OwnMemory& operator=(OwnMemory&&) = delete;
  OwnMemory(const OwnMemory&) = delete;
  OwnMemory& operator=(const OwnMemory&) = delete;
  ~OwnMemory();

  Range range() const { return range_; }
  Range second() const { return second_; }  // The other mapping of kMappedTwice; otherwise empty.

 private:
  OwnMemory() = default;

  absl::Status Reserve(std::size_t bytes);
  absl::Status MapAnonymous(int protection, int flags) const;
  absl::Status MapTwice();
  absl::Status MapAndTouch(MemoryKind kind);

  Range range_;
  Range second_;
  Range reserved_;  // All of the address space that is unmapped at the end.
};

}  // namespace linchpin
