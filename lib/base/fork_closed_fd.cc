#include "lib/base/fork_closed_fd.h"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <mutex>

namespace linchpin {
namespace {

// A slot is free, or holds a descriptor + 1, or holds kClosed: owned, but closed by the handler.
// The handler runs in a child in which any lock may be held for ever, so the slots are plain
// atomics.
constexpr int kFree = 0;
constexpr int kClosed = -1;
constexpr std::size_t kSlots = 64;
std::array<std::atomic<int>, kSlots> slots{};

void CloseInChild() {
  const int saved = errno;
  for (std::atomic<int>& slot : slots) {
    const int value = slot.load(std::memory_order_relaxed);  // The child has one thread.
    if (value <= kFree) continue;
    close(value - 1);
    slot.store(kClosed, std::memory_order_relaxed);
  }
  errno = saved;
}

std::atomic<int>* TakeSlot(int fd) {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, CloseInChild); });
  for (std::atomic<int>& slot : slots) {
    int expected = kFree;
    if (slot.compare_exchange_strong(expected, fd + 1)) return &slot;
  }
  return nullptr;
}

}  // namespace

ForkClosedFd::ForkClosedFd(int fd) : fd_(fd), slot_(fd >= 0 ? TakeSlot(fd) : nullptr) {}

void ForkClosedFd::Close() {
  const int fd = fd_.exchange(-1);
  if (std::atomic<int>* slot = std::exchange(slot_, nullptr); slot != nullptr) {
    if (slot->exchange(kFree) == kClosed) return;
  }
  if (fd >= 0) close(fd);
}

}  // namespace linchpin
