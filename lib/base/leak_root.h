// LeakRoot: mapped memory that holds pointers to the heap, shown to the program's leak checker, if
// there is one. It does not look into mappings by itself, and would take for lost what can only be
// reached from there, in a cache that a program never destroys.
#pragma once

#include <cstddef>

namespace linchpin {

class LeakRoot final {
 public:
  LeakRoot() = default;
  // Requires: [data, data + bytes) stays mapped while this lives; it need not be readable.
  LeakRoot(const void* data, std::size_t bytes);
  LeakRoot(LeakRoot&& other) noexcept;
  LeakRoot& operator=(LeakRoot&& other) noexcept;
  LeakRoot(const LeakRoot&) = delete;
  LeakRoot& operator=(const LeakRoot&) = delete;
  ~LeakRoot();

 private:
  const void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace linchpin
