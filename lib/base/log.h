// Log: one line on standard error, for what has no one to be returned to.
#pragma once

#include <string>

namespace linchpin {

// Writes "linchpin: `text`" and a newline in one system call. Never with a mutex held.
void Log(const std::string& text);

}  // namespace linchpin
