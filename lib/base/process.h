// ProcessCookie: tells a process from its forked children, which inherit its objects. Also across a
// raw clone, which runs no pthread_atfork handler.
#pragma once

#include <cstdint>

namespace linchpin {

// Returns: a value that stays the same for the life of the process and that no ancestor ever had.
// Two memory reads. Never 0. Where the kernel cannot wipe a page on fork (before 4.14), the process
// id takes its place.
std::uint64_t ProcessCookie();

}  // namespace linchpin
