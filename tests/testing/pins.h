// What the kernel says of this process's pins, and waiting for it to say what is expected.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace linchpin::testing {

// VmPin of /proc/self/status, in bytes.
std::uint64_t PinnedBytes();

// Waits up to 30 s for `condition`, prints how long it took as "`what`: 3 ms", and returns whether
// it came true. Tests assert on that, never on the time.
bool WaitFor(std::string_view what, const std::function<bool()>& condition);

}  // namespace linchpin::testing
