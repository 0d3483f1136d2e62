// Page frames: which physical pages are behind a range of this process's addresses, now.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

#include "lib/phyr/page_map.h"
#include "linchpin/range.h"

namespace linchpin::internal {

// Returns: this process's page map; PermissionDenied, with what to do, when it shows no frame
// numbers; Unavailable when it cannot be read.
absl::StatusOr<PageMap> OpenPageMapWithFrames();

// Returns: the frame number of each page of BasePageSize that `range` touches, in order; 0 for a
// page that is not there; Unavailable when the page map cannot be read.
absl::StatusOr<std::vector<std::uint64_t>> ReadFrames(const PageMap& map, Range range);

// The same by a page map opened for the purpose. Returns: as both.
absl::StatusOr<std::vector<std::uint64_t>> ReadPageFrames(Range range);

}  // namespace linchpin::internal
