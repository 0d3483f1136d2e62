#include "lib/registrar/loopback/bounce.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "lib/base/base_page.h"
#include "lib/base/error.h"

namespace linchpin::loopback {
namespace {

// Fits the second-level cache, so that the second copy of a chunk reads what the first wrote: with
// 64 KiB and with 1 MiB chunks a transfer of 1 MiB was slower.
constexpr int kRoomBytes = 256 << 10;

}  // namespace

absl::Status Bounce::Open() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return ErrnoToStatus(errno, "pipe2", "raise RLIMIT_NOFILE (ulimit -n), or close descriptors");
  }
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  // Refused beyond the user's share of pipe memory: a smaller pipe works too, in smaller chunks.
  (void)fcntl(write_end.get(), F_SETPIPE_SZ, kRoomBytes);
  const int room_bytes = fcntl(write_end.get(), F_GETPIPE_SZ);
  if (room_bytes <= 0) return ErrnoToStatus(errno, "F_GETPIPE_SZ", "allow fcntl on a pipe");
  room_pages_ = static_cast<std::size_t>(room_bytes) / BasePageSize();
  read_end_ = std::move(read_end);
  write_end_ = std::move(write_end);
  return absl::OkStatus();
}

void Bounce::Discard() {
  std::array<char, 4096> thrown_away{};
  for (;;) {
    const ssize_t count = read(read_end_.get(), thrown_away.data(), thrown_away.size());
    if (count > 0 || (count < 0 && errno == EINTR)) continue;
    return;
  }
}

BouncePool::BouncePool() {
  const MutexLock lock(mutex_);
  idle_.reserve(kBounces);
  unmade_.reserve(kBounces);
  for (Bounce& bounce : bounces_) unmade_.push_back(&bounce);
}

absl::Status BouncePool::Open() {
  const MutexLock lock(mutex_);
  Bounce* bounce = unmade_.back();
  if (absl::Status status = bounce->Open(); !status.ok()) return status;
  unmade_.pop_back();
  idle_.push_back(bounce);
  return absl::OkStatus();
}

Bounce* BouncePool::Take() {
  const MutexLock lock(mutex_);
  for (;;) {
    if (!idle_.empty()) {
      Bounce* bounce = idle_.back();
      idle_.pop_back();
      return bounce;
    }
    // Without a descriptor for one more, wait for one of those there are.
    if (!unmade_.empty() && unmade_.back()->Open().ok()) {
      Bounce* bounce = unmade_.back();
      unmade_.pop_back();
      return bounce;
    }
    returned_.Wait(mutex_);
  }
}

void BouncePool::Return(Bounce* bounce) {
  const MutexLock lock(mutex_);
  idle_.push_back(bounce);
  returned_.NotifyOne();
}

void BouncePool::CloseInForkedChild() {
  for (const Bounce& bounce : bounces_) {
    if (!bounce.is_open()) continue;
    close(bounce.read_end());
    close(bounce.write_end());
  }
}

}  // namespace linchpin::loopback
