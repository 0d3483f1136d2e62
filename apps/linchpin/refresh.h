// Asks other processes to bring their ledgers up to date.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/pin/ledger_reader.h"

namespace linchpin {

// Asks the caches of each process to publish, and waits until all have, but not longer than
// `patience`, nor for a process that is stopped, gone, or cannot be asked.
// Returns: for each, whether all its caches have answered.
std::vector<bool> Refresh(std::span<const internal::LedgerReader> processes,
                          std::chrono::milliseconds patience);

// Seconds since then; 0 for what lies in the future, as a ledger may say that it does.
double SecondsSince(std::uint64_t then_ns, std::uint64_t now_ns);

}  // namespace linchpin
