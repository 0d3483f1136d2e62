// Numbers as people write them on a command line, and sizes as people read them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace linchpin {

// Returns: the number that `text` is, in decimal, or in hexadecimal behind "0x"; nothing for
// anything else.
std::optional<std::uint64_t> ParseNumber(std::string_view text);

// A whole number from `least` to `most`, which `option` names in messages.
struct CountLimits {
  std::uint64_t least = 1;
  std::uint64_t most = 1;
};

// Returns: the number that `text` is, in decimal digits and nothing else; InvalidArgument, naming
// `option` and what it takes, for anything else.
absl::StatusOr<std::uint64_t> ParseCount(const std::string& option, const std::string& text,
                                         CountLimits limits);

// Returns: the size in bytes that `text` is: digits, and K, M, G or T (powers of 1024, either case)
// behind them or not; InvalidArgument, naming `option`, for anything else, for 0, and for what is
// not below 2^63.
absl::StatusOr<std::uint64_t> ParseSize(const std::string& option, const std::string& text);

// "64 KiB" where the unit divides it, otherwise "65537 B".
std::string FormatSize(std::uint64_t bytes);

}  // namespace linchpin
