#include "lib/monitor/reuse_time.h"

#include <sys/mman.h>

#include <algorithm>

#include "lib/memory/mapping.h"

namespace linchpin {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::nanoseconds kMost(500);

std::chrono::nanoseconds Measure() {
  constexpr int kPairs = 100;
  std::chrono::nanoseconds smallest = 2 * kMost;
  for (int i = 0; i < kPairs; ++i) {
    void* const page = mmap(nullptr, BasePageSize(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return {};
    const Clock::time_point start = Clock::now();
    munmap(page, BasePageSize());
    void* const again = mmap(page, BasePageSize(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    smallest = std::min<std::chrono::nanoseconds>(smallest, Clock::now() - start);
    if (again != MAP_FAILED) munmap(again, BasePageSize());
  }
  return smallest / 2;
}

}  // namespace

std::chrono::nanoseconds ReuseTime() {
  static const std::chrono::nanoseconds measured = Measure();
  return measured;
}

}  // namespace linchpin
