// NothingToSettle: the pace of a monitor that tells each change before the change returns, or that
// watches nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "linchpin/monitor.h"

namespace linchpin {

inline MemoryMonitor::Pace NothingToSettle() {
  static constexpr std::atomic<std::uint64_t> kAlwaysEven{0};
  return {&kAlwaysEven, std::chrono::nanoseconds::max()};
}

}  // namespace linchpin
