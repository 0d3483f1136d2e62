// Ticks: the cheapest clock there is, for intervals below a microsecond.
#pragma once

#include <cstdint>

#ifdef __x86_64__
#include <x86intrin.h>
#endif

namespace linchpin {

// Returns: the time-stamp counter, without waiting for earlier instructions; 0 where there is none.
inline std::uint64_t Ticks() {
#ifdef __x86_64__
  return __rdtsc();
#else
  return 0;
#endif
}

// Returns: how many ticks pass in a nanosecond, a little fewer rather than more; 0 where Ticks()
// does not run at one speed on all processors (no invariant TSC). Measured once a process, in about
// a millisecond.
double TicksPerNanosecond();

}  // namespace linchpin
