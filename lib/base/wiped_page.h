// WipedPage: a page that the kernel zeroes in a forked child, whichever way the child was made.
#pragma once

#include <cstddef>

namespace linchpin {

class WipedPage final {
 public:
  WipedPage();
  ~WipedPage();
  WipedPage(const WipedPage&) = delete;
  WipedPage& operator=(const WipedPage&) = delete;

  // Null when there is no memory, or the kernel cannot wipe (before Linux 4.14).
  void* data() const { return data_; }

  // Leaves the page where it is, for as long as the process lives.
  void Keep() { data_ = nullptr; }

 private:
  void* data_ = nullptr;
};

}  // namespace linchpin
