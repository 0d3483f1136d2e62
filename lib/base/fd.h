// Fd: a file descriptor with one owner.
#pragma once

#include <utility>

namespace linchpin {

class Fd final {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) Reset(other.Release());
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Reset(-1); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }  // The caller owns it now.
  void Reset(int fd);                               // Closes, and owns `fd` instead.

 private:
  int fd_ = -1;
};

}  // namespace linchpin
