// What an engine is given for a list that was mapped for DMA.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/dma_map.h"
#include "tests/edu/owned_frames.h"

namespace linchpin::testing {

// The mapping's segments, where the engine finds them: through the mapping's translations, if it
// has any. There is no IOMMU before the engines, so this is one, which only translates.
// Returns: NotFound for a segment of which some byte is not translated.
absl::StatusOr<std::vector<BusRange>> EngineSegments(const DmaMapping& mapping);

// Returns: OK when each segment keeps to the limits; otherwise which does not, and to what.
absl::Status CheckLimitsKept(const DmaMapping& mapping, const DmaLimits& limits);

}  // namespace linchpin::testing
