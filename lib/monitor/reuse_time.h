// ReuseTime: how fast an address that one thread unmaps can be given to another.
#pragma once

#include <chrono>

namespace linchpin {

// Returns: half of the smallest time that an munmap and an mmap of one page take together, of many
// pairs, and at most 500 ns: a thread that finds nothing being unmapped may rely on that for so
// long. Measured once a process, in a fraction of a millisecond; zero if mmap fails.
std::chrono::nanoseconds ReuseTime();

}  // namespace linchpin
