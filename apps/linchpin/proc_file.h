// Single values out of /proc and /sys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace linchpin {

// Returns: the first line of `path`; nothing when it cannot be read.
std::optional<std::string> ReadLine(const std::string& path);

// Returns: the number that the first line of `path` begins with; nothing when there is none.
std::optional<std::int64_t> ReadNumber(const std::string& path);

// Returns: what follows "`name`:" in `path`, which has a line for each field, without the white
// space around it; nothing when there is no such line.
std::optional<std::string> ReadField(const std::string& path, const std::string& name);

// The same for a field in kB, in bytes.
std::optional<std::uint64_t> ReadFieldBytes(const std::string& path, const std::string& name);

}  // namespace linchpin
