// Finds memory of memfd_secret, which the kernel must not be asked to register on demand: rxe then
// oopses at the first access, and no error says so before.
#pragma once

#include "absl/status/status.h"

#include "linchpin/range.h"

namespace linchpin {

// Returns: OK when no part of `range` is memory of memfd_secret; FailedPrecondition when some is,
// or when that cannot be found out. It is a look at the mappings of this moment: the caller must
// not map secret memory into the range afterwards.
absl::Status CheckNotSecret(Range range);

}  // namespace linchpin
