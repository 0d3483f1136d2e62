// Measurements that need a process of their own: memory, because freed memory of one contender
// would serve the next.
#pragma once

#include <functional>
#include <vector>

namespace linchpin::bench {

// Runs `measure` in a forked child. Returns: what it returned. Ends the process when the child
// fails.
std::vector<double> RunInChild(const std::function<std::vector<double>()>& measure);

// The bytes of this process's memory that are resident: exact, where /proc/self/statm is not.
double ResidentBytes();

}  // namespace linchpin::bench
