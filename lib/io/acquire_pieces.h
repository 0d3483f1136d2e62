// Acquires memory that one region cannot be had for.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/access.h"
#include "linchpin/cache.h"
#include "linchpin/pin_file.h"
#include "linchpin/range.h"

namespace linchpin::internal {

// What is asked for in pieces, and why: `refusal` is what the cache said of the whole; OK if that
// is longer than a region can be.
struct PiecesRequest {
  Range range;
  Access access = Access::kLocalRead;
  std::shared_ptr<PinFile> owner;
  absl::Status refusal;
};

// Returns: leases that cover the range without a gap or an overlap, in ascending order; otherwise
// why a piece was refused that there is no border in to cut at, and every lease has been given
// back.
absl::StatusOr<std::vector<Lease>> AcquirePieces(RegistrationCache& cache,
                                                 const PiecesRequest& request);

}  // namespace linchpin::internal
