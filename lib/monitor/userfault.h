// Userfault: a userfaultfd and the few calls on it that the monitor needs. The memory is registered
// in write-protect mode and nothing is ever write-protected: that gives the events of the mappings,
// and no page faults to resolve.
#pragma once

#include <linux/userfaultfd.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/statusor.h"

#include "lib/base/fork_closed_fd.h"
#include "linchpin/range.h"

namespace linchpin {

class Userfault final {
 public:
  // Returns: Unavailable when the kernel, a sysctl or seccomp refuses, with what to change.
  static absl::StatusOr<Userfault> Create();

  [[nodiscard]] int fd() const { return fd_.get(); }
  void Close() { fd_.Close(); }

  // Returns: 0 or an errno value. EBUSY: another userfaultfd has it. EINVAL: nothing is mapped
  // there, or it cannot be watched. EPERM: a shared mapping of a read-only descriptor. Arming twice
  // is fine.
  [[nodiscard]] int Arm(Range range) const;

  // Returns: 0 or an errno value. Requires: the range is armed by us. Before Linux 6.15 the kernel
  // would as readily disarm another userfaultfd's.
  [[nodiscard]] int Disarm(Range range) const;

  // Reads events that are there.
  // Returns: how many; 0 when there are none (now); -1 with errno when the descriptor is broken.
  [[nodiscard]] std::ptrdiff_t Read(std::span<uffd_msg> events) const;

  // Lets the thread go on that waits for `address` in a page fault. Only pages that somebody else
  // once write-protected and left so (before Linux 6.9) can cause one.
  void ResolveFault(std::uint64_t address) const;

  // Whether a thread is between having freed addresses and having seen its event read.
  // Returns: EAGAIN if so, EINVAL if not; anything else: the descriptor is broken.
  [[nodiscard]] int AskOutstanding() const;

 private:
  explicit Userfault(ForkClosedFd fd) : fd_(std::move(fd)) {}

  ForkClosedFd fd_;
};

}  // namespace linchpin
