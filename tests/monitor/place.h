// Place: memory at an address that nobody else is ever given. A test that unmaps a part of its
// memory leaves a hole, which the kernel gives to the next mmap of any thread (a stack, an arena, a
// sanitizer's shadow), and unmapping the rest would then tear that out. The kernel fills holes from
// the top of the address space, so a hole near the bottom stays one.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tests/testing/memory.h"

namespace linchpin::testing {

class Place final {
 public:
  explicit Place(std::size_t bytes, int protection = PROT_READ | PROT_WRITE) : bytes_(bytes) {
    // Where every sanitizer lets a program have memory, and above the heap of a static executable.
    constexpr std::uintptr_t kFirst = 0x30000000;
    constexpr std::uintptr_t kLast = 0x70000000;
    static std::atomic<std::uintptr_t> next{kFirst};
    const std::uintptr_t start = next.fetch_add(bytes + 2 * kPage) + kPage;
    if (start + bytes > kLast) std::abort();
    data_ = static_cast<char*>(mmap(reinterpret_cast<void*>(start), bytes, protection,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
    if (data_ != reinterpret_cast<char*>(start)) std::abort();
  }
  ~Place() { munmap(data_, bytes_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  char* data() const { return data_; }
  std::uintptr_t start() const { return reinterpret_cast<std::uintptr_t>(data_); }

 private:
  char* data_;
  std::size_t bytes_;
};

}  // namespace linchpin::testing
