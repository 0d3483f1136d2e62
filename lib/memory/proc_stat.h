// The fields of /proc/PID/stat.
#pragma once

#include <string_view>

namespace linchpin {

// Returns: field `number` (3 and up) of the text of /proc/PID/stat; empty when there is none. The
// second field, the command in parentheses, may hold anything.
std::string_view StatField(std::string_view stat, int number);

}  // namespace linchpin
