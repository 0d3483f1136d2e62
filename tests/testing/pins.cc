#include "tests/testing/pins.h"

#include <chrono>
#include <cstdio>
#include <thread>

#include "lib/memory/limits.h"

namespace linchpin::testing {

std::uint64_t PinnedBytes() {
  return ReadMemoryLimits().pinned_bytes;
}

bool WaitFor(std::string_view what, const std::function<bool()>& condition) {
  using std::chrono::steady_clock;
  const auto start = steady_clock::now();
  const auto deadline = start + std::chrono::seconds(30);
  bool came_true = condition();
  while (!came_true && steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    came_true = condition();
  }
  const auto lag = std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
  std::printf("%.*s: %s after %.1f ms\n", static_cast<int>(what.size()), what.data(),
              came_true ? "seen" : "NOT seen", lag);
  return came_true;
}

}  // namespace linchpin::testing
