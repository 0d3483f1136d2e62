// LedgerMemory: the memory of a ledger, which others can read once a memfd is behind it.
//
// While there is none (no descriptor is left, say), it is ordinary memory, so that nothing is lost:
// what was written moves to the memfd when there is one. 4.1 MiB of address space; memory only for
// what has been used, under mlockall(MCL_FUTURE) too.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lib/base/fork_closed_fd.h"
#include "lib/pin/ledger_format.h"

namespace linchpin::internal {

// Not thread-safe, but for base().
class LedgerMemory final {
 public:
  LedgerMemory() = default;
  LedgerMemory(const LedgerMemory&) = delete;
  LedgerMemory& operator=(const LedgerMemory&) = delete;
  ~LedgerMemory() = default;  // Unmaps nothing: a ledger lasts as long as its process.

  // Null: the kernel gives no memory at all, and nothing can be listed.
  std::byte* base() const { return base_.load(std::memory_order_acquire); }
  LedgerHeader& header() const { return *reinterpret_cast<LedgerHeader*>(base()); }

  // Tries to get a memfd if there is none, and ordinary memory if there is nothing.
  // Returns: 0, or the errno of why nobody can see this ledger.
  int TryToBeSeen();
  bool seen() const { return fd_.valid(); }

  // Gets memory for these bytes, so that writing to them cannot fault in vain: with strict
  // accounting (vm.overcommit_memory=2) it would be a SIGBUS. Returns: whether there is memory.
  bool Back(std::size_t offset, std::size_t bytes) const;

 private:
  std::atomic<std::byte*> base_{nullptr};
  ForkClosedFd fd_;
};

}  // namespace linchpin::internal
