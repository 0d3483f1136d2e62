// Text from elsewhere, such as the names in another process's memory, made fit for a terminal and
// for JSON.
#pragma once

#include <string>
#include <string_view>

namespace linchpin {

// Returns: `text` as valid UTF-8 without control characters: each byte that belongs to one, or to
// no character at all, or to one that turns the direction of writing, is "\xNN".
std::string Printable(std::string_view text);

}  // namespace linchpin
