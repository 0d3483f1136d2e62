// ForkClosedFd: a descriptor of this process alone. A forked child's copy is closed at once,
// because what it stands for (a userfaultfd, /proc/self/maps) belongs to the parent's memory. A raw
// clone runs no fork handler: there the copy lives until its owner is destroyed, or to the next
// exec.
#pragma once

#include <atomic>
#include <utility>

namespace linchpin {

class ForkClosedFd final {
 public:
  ForkClosedFd() = default;
  // Owns `fd`. When too many exist at once, children keep a copy of this one until exec.
  explicit ForkClosedFd(int fd);
  ForkClosedFd(ForkClosedFd&& other) noexcept
      : fd_(other.fd_.exchange(-1)), slot_(std::exchange(other.slot_, nullptr)) {}
  ForkClosedFd& operator=(ForkClosedFd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = other.fd_.exchange(-1);
      slot_ = std::exchange(other.slot_, nullptr);
    }
    return *this;
  }
  ForkClosedFd(const ForkClosedFd&) = delete;
  ForkClosedFd& operator=(const ForkClosedFd&) = delete;
  ~ForkClosedFd() { Close(); }

  // In a forked child the number no longer means this descriptor: compare ProcessCookie first.
  [[nodiscard]] int get() const { return fd_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool valid() const { return get() >= 0; }
  void Close();  // Only if a fork handler has not.

 private:
  // Atomic, because a raw clone's child closes it and a race detector there still sees the
  // parent's threads read it.
  std::atomic<int> fd_{-1};
  std::atomic<int>* slot_ = nullptr;  // Tells the fork handler of fd_. Null: it does not know.
};

}  // namespace linchpin
