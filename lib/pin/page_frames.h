// Page frames: which physical pages are behind a range of this process's addresses, now.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "linchpin/range.h"

namespace linchpin::internal {

// Returns: the frame number of each page of BasePageSize that `range` touches, in order; 0 for a
// page that is not there; PermissionDenied, with what to do, when this process may not see frame
// numbers; Unavailable when /proc/self/pagemap cannot be read.
absl::StatusOr<std::vector<std::uint64_t>> ReadPageFrames(Range range);

}  // namespace linchpin::internal
