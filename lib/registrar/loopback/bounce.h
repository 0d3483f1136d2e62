// Bounce: the pipe through which the bytes of one transfer go, a chunk at a time: io_uring moves
// pinned pages to and from files, and a pipe is a file that needs no name, no worker thread and no
// memory while it is empty.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"

#include "lib/base/fd.h"
#include "lib/base/mutex.h"

namespace linchpin::loopback {

class Bounce final {
 public:
  absl::Status Open();
  bool is_open() const { return read_end_.valid(); }
  int read_end() const { return read_end_.get(); }
  int write_end() const { return write_end_.get(); }

  // How many moves of at most a page, or pages of one move, an empty pipe has room for.
  std::size_t room_pages() const { return room_pages_; }

  void Discard();  // Throws away what is in the pipe.

 private:
  Fd read_end_;  // Both are non-blocking: else a move would be left to a kernel thread.
  Fd write_end_;
  std::size_t room_pages_ = 0;
};

// The device's bounces, made when first needed. At most kBounces transfers move bytes at a time; a
// further one waits.
//
// Thread-safety: all calls may be made at once from any threads. None but CloseInForkedChild may be
// made in a forked child.
class BouncePool final {
 public:
  static constexpr std::size_t kBounces = 16;

  BouncePool();

  // Makes the first bounce, so that Take cannot fail.
  absl::Status Open();

  void CloseInForkedChild();

 private:
  friend class BounceLease;
  Bounce* Take();
  void Return(Bounce* bounce);

  Mutex mutex_;
  CondVar returned_;
  std::array<Bounce, kBounces>
      bounces_;  // Each is its taker's; in idle_ or unmade_ it is mutex_'s.
  std::vector<Bounce*> idle_ ABSL_GUARDED_BY(mutex_);    // Open and empty, last used last.
  std::vector<Bounce*> unmade_ ABSL_GUARDED_BY(mutex_);  // Not open yet.
};

// A bounce for the length of a scope. Whoever leaves bytes in it discards them.
class BounceLease final {
 public:
  explicit BounceLease(BouncePool& pool) : pool_(pool), bounce_(pool.Take()) {}
  ~BounceLease() { pool_.Return(bounce_); }
  BounceLease(const BounceLease&) = delete;
  BounceLease& operator=(const BounceLease&) = delete;

  Bounce& operator*() const { return *bounce_; }

 private:
  BouncePool& pool_;
  Bounce* bounce_;
};

}  // namespace linchpin::loopback
