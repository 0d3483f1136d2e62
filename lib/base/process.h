// ProcessCookie: tells a process from its forked children, which inherit its objects. Also across a
// raw clone, which runs no pthread_atfork handler.
#pragma once

#include <atomic>
#include <cstdint>

namespace linchpin {

namespace process_cookie {

using Word = std::atomic<std::uint64_t>;

// The cookie, on a page that the kernel zeroes in a forked child. Null until somebody has asked.
extern constinit std::atomic<Word*> page;

std::uint64_t Draw();

}  // namespace process_cookie

// Returns: a value that stays the same for the life of the process and that no ancestor ever had.
// Two memory reads. Never 0. Where the kernel cannot wipe a page on fork (before 4.14), the process
// id takes its place.
inline std::uint64_t ProcessCookie() {
  const process_cookie::Word* const page = process_cookie::page.load(std::memory_order_acquire);
  const std::uint64_t cookie = page == nullptr ? 0 : page->load(std::memory_order_acquire);
  return cookie != 0 ? cookie : process_cookie::Draw();
}

}  // namespace linchpin
