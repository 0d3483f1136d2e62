// The other threads of a test's process.
#pragma once

namespace linchpin::testing {

// Returns when all other threads of the process sleep, at one and the same moment, or have ended;
// so none of them is in the middle of anything. Aborts the process when that takes 30 s. Requires:
// nobody but the caller has anything more for them to do.
//
// To be called before a fork whose child allocates or starts threads, when the parent's threads may
// still be starting: AddressSanitizer of GCC 12 forks without the locks of its allocator, and what
// the copy of a lock says is for ever (docs/concurrency.md, M10).
void AwaitSleepOfOtherThreads();

}  // namespace linchpin::testing
