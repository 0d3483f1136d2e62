// The cheap clock against the good one.
#include "lib/base/ticks.h"

#include <chrono>
#include <cstdio>

#include "gtest/gtest.h"

namespace linchpin {
namespace {

using std::chrono::steady_clock;

// How many ticks pass in a nanosecond, over `time` at least.
double Measured(steady_clock::duration time) {
  const steady_clock::time_point start = steady_clock::now();
  const std::uint64_t first = Ticks();
  while (steady_clock::now() - start < time) continue;
  const auto ticks = static_cast<double>(Ticks() - first);
  const std::chrono::duration<double, std::nano> passed = steady_clock::now() - start;
  return ticks / passed.count();
}

TEST(Ticks, DoNotRunBackwards) {
  std::uint64_t last = Ticks();
  for (int i = 0; i < 1'000'000; ++i) {
    const std::uint64_t now = Ticks();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(Ticks, RunAtTheMeasuredSpeedOrHaveNone) {
  const double said = TicksPerNanosecond();
  const double measured = Measured(std::chrono::milliseconds(50));
  std::printf("%.4f ticks a nanosecond; measured again: %.4f\n", said, measured);
  EXPECT_EQ(TicksPerNanosecond(), said) << "measured once";
  if (said == 0) GTEST_SKIP() << "no counter that runs at one speed on all processors";
  EXPECT_GT(said, measured / 1.5);
  EXPECT_LT(said, measured * 1.5);
}

}  // namespace
}  // namespace linchpin
