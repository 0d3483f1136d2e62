#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "linchpin/registrar.h"

namespace linchpin {

// A piece of local memory in a work request, like ibv_sge.
struct LocalExtent {
  const void* address = nullptr;
  std::size_t length = 0;
  std::uint32_t lkey = 0;
};

// Where a one-sided operation reaches: an address in memory registered by the peer, and its rkey.
struct RemoteExtent {
  std::uint64_t address = 0;
  std::uint32_t rkey = 0;
};

// How a transfer ended, after ibv_wc_status.
enum class Completion : std::uint8_t {
  kSuccess,
  kLocalProtectionError,  // An lkey is dead, or does not cover the extent, or lacks LocalWrite.
  kRemoteAccessError,     // The rkey is dead, or does not cover the range, or lacks the right.
  kRemoteInvalidRequest,  // An atomic operation not on 8 aligned bytes.
  kGeneralError,          // The device failed, and the memory may be partly written.
};

// "local protection error", as ibv_wc_status_str would say.
std::string_view ToString(Completion completion);

// RDMA within the process, with no RDMA hardware: a device whose registrations are the kernel's own
// long-term pins (io_uring registered buffers) and whose transfers move the pinned pages, whatever
// is mapped at their address by then. So it corrupts data under a wrong cache just as a NIC does.
// Atomic operations are atomic among themselves, on this device only (like IBV_ATOMIC_HCA).
//
// Where it differs from an RDMA device:
// - io_uring pins for writing, whatever the rights: memory without write permission cannot be
//   registered (FailedPrecondition, EFAULT) even for reading alone.
// - It has no on-demand paging and no memory windows: Unimplemented.
// - RLIMIT_MEMLOCK counts what the user's processes have pinned together, and on recent kernels
//   8 KiB for each ring (one, and one more for each 64 registrations up to four).
// - Kernels before 6.4 unpin up to a second after Deregister, or when another registration needs
//   the room. The keys are dead at once.
// - Linux 6.1 does not take System V shared memory: Unimplemented, EOPNOTSUPP.
//
// In a forked child it is inert: Register is FailedPrecondition, a transfer ends in kGeneralError,
// Deregister returns OK and does nothing, and destruction closes its descriptors.
//
// Thread-safety: all calls may be made at once from any threads. Deregister waits for the transfers
// that use the registration.
class LoopbackDevice final : public Registrar {
 public:
  // Returns: the device; Unavailable when the process may not use io_uring, with what to change.
  static absl::StatusOr<std::shared_ptr<LoopbackDevice>> Create();
  ~LoopbackDevice() override;
  LoopbackDevice(const LoopbackDevice&) = delete;
  LoopbackDevice& operator=(const LoopbackDevice&) = delete;

  absl::StatusOr<Registration> Register(Range range, Access access) override;
  absl::Status Deregister(Registration& registration) override;
  RegistrarLimits limits() const override;
  std::string name() const override { return "loopback"; }

  // Copies the local extents, in order, to the remote address, as an RDMA write does; checks every
  // key, bound and right before the first byte moves. Returns when the bytes have arrived. Of an
  // extent of no bytes nothing is checked. Where the two sides overlap the bytes are undefined.
  Completion Write(std::span<const LocalExtent> local, RemoteExtent remote);

  // Copies from the remote address into the local extents, as an RDMA read does.
  Completion Read(std::span<const LocalExtent> local, RemoteExtent remote);

  // Compares the 8 bytes at the remote address with `compare`, replaces them with `swap` if they
  // are equal, and puts the old value into the local extent of 8 bytes.
  Completion CompareAndSwap(LocalExtent local, RemoteExtent remote, std::uint64_t compare,
                            std::uint64_t swap);

 private:
  class Impl;
  explicit LoopbackDevice(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace linchpin
