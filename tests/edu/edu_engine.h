// A driver, in user space, of a DMA engine for physical addresses: QEMU's edu PCI device, of which
// `tools/rxe-vm --edu N` puts some into a guest. What a kernel module would need a NIC for, a test
// can do here: give bus addresses to a device, and see where its bytes come from and go to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/fd.h"
#include "tests/edu/owned_frames.h"

namespace linchpin::testing {

// Reads and writes memory by its physical address, through a buffer of its own: whatever is at the
// address, no page table and no IOMMU in between. So it only goes to memory of which OwnedFrames
// says that it is the test's, whoever says so to the engine.
//
// Not thread-safe: one thread at a time uses an engine; each thread may have its own.
class EduEngine final {
 public:
  // The engine has 4096 bytes. QEMU 7.2 ends, and the guest with it, at a transfer that reaches the
  // last of them (its check of the range is one off), so that byte is not used.
  static constexpr std::size_t kBufferBytes = 4095;
  // rxe-vm gives the engine this mask; it silently cuts addresses to it.
  static constexpr std::uint64_t kAddressMask = 0xffffffffff;

  // Takes over every engine of this machine. Requires: `owned` outlives the engines.
  // Returns: NotFound when there is none; otherwise why one cannot be used.
  static absl::StatusOr<std::vector<std::unique_ptr<EduEngine>>> OpenAll(const OwnedFrames& owned);

  ~EduEngine();  // The device can reach no memory afterwards.
  EduEngine(const EduEngine&) = delete;
  EduEngine& operator=(const EduEngine&) = delete;

  // Copies between memory at a bus address and the engine's buffer. A transfer takes the engine at
  // least 100 ms, however short.
  // Returns: InvalidArgument for bytes outside the buffer or above the mask; FailedPrecondition for
  // memory that is not the test's: the engine was not started then. DeadlineExceeded when it did
  // not end within 30 s: it can reach no memory any more, and every later call fails.
  absl::Status CopyToDevice(BusRange from, std::size_t engine_offset);
  absl::Status CopyFromDevice(std::size_t engine_offset, BusRange to);

  std::uint64_t transfers() const { return transfers_; }

 private:
  EduEngine(std::string folder, const OwnedFrames& owned)
      : folder_(std::move(folder)), owned_(owned) {}
  absl::Status Open();
  absl::Status SetBusMaster(bool on);
  absl::Status Check(BusRange memory, std::size_t engine_offset) const;
  absl::Status Transfer(std::uint64_t source, std::uint64_t destination, std::size_t bytes,
                        std::uint32_t command);
  bool AwaitIdle() const;

  // The device takes accesses of 4 bytes anywhere, of 8 bytes from 0x80 on, and no others.
  std::uint32_t Read32(std::size_t at) const;
  void Write32(std::size_t at, std::uint32_t value);
  void Write64(std::size_t at, std::uint64_t value);

  const std::string folder_;  // /sys/bus/pci/devices/0000:00:03.0
  const OwnedFrames& owned_;
  Fd config_;
  void* registers_ = nullptr;
  bool stopped_ = false;  // After a transfer that did not end.
  std::uint64_t transfers_ = 0;
};

// Copies the bytes of `from`, in their order, to `to` through the engine's buffer: as many as it
// holds at a time, in from each segment and out to each. Requires: both have as many bytes.
// Returns: OK; InvalidArgument when they have not; otherwise the first transfer's error.
absl::Status CopyThrough(EduEngine& engine, std::span<const BusRange> from,
                         std::span<const BusRange> to);

// Calls `run` for each number below `jobs`, on a thread for each engine, which it has to itself.
// Returns: OK; otherwise the error of the lowest job that failed, naming it.
absl::Status ForEachJob(std::span<const std::unique_ptr<EduEngine>> engines, std::size_t jobs,
                        const std::function<absl::Status(EduEngine&, std::size_t)>& run);

}  // namespace linchpin::testing
