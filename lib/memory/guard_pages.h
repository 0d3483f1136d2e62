// Guard pages: those of MADV_GUARD_INSTALL (Linux 6.13), which no look at the mappings shows: a
// touch of one is a fault, and so is pinning it.
#pragma once

#include <sys/types.h>

#include "linchpin/range.h"

namespace linchpin {

// Returns: the first guard pages in `range` of process `pid` (0: this one), as far as they lie in
// it; empty when there are none, or when the kernel does not tell (before 6.15). It walks the page
// tables of the range: some 5 ns for each page that is there.
Range FirstGuardPages(pid_t pid, Range range);

}  // namespace linchpin
