#include "lib/base/ticks.h"

#include <algorithm>
#include <chrono>
#include <limits>

#ifdef __x86_64__
#include <cpuid.h>
#endif

namespace linchpin {
namespace {

// CPUID 0x80000007, EDX bit 8 (Intel SDM volume 3, "Invariant TSC").
bool RunsAtOneSpeed() {
#ifdef __x86_64__
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & (1U << 8)) != 0;
#else
  return false;
#endif
}

// A pause between two readings makes a measurement too low or too high, so the lowest of several
// counts, less a fiftieth: who waits too few ticks is on the safe side.
double Measure() {
  using Clock = std::chrono::steady_clock;
  constexpr int kTries = 5;
  constexpr std::chrono::microseconds kTime(200);
  constexpr double kCaution = 0.98;
  if (!RunsAtOneSpeed()) return 0;
  double lowest = std::numeric_limits<double>::max();
  for (int i = 0; i < kTries; ++i) {
    const Clock::time_point start = Clock::now();
    const std::uint64_t first = Ticks();
    Clock::time_point now = start;
    while (now - start < kTime) now = Clock::now();
    const auto ticks = static_cast<double>(Ticks() - first);
    lowest =
        std::min(lowest, ticks / std::chrono::duration<double, std::nano>(now - start).count());
  }
  return lowest * kCaution;
}

}  // namespace

double TicksPerNanosecond() {
  static const double measured = Measure();
  return measured;
}

}  // namespace linchpin
