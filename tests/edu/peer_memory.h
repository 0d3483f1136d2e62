// Memory of a PCI device, which others reach by its bus address: peer-to-peer, past the machine's
// memory. `tools/rxe-vm --edu N` puts such a device into the guest, QEMU's ivshmem-plain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "linchpin/phyr.h"
#include "tests/edu/owned_frames.h"

namespace linchpin::testing {

class PeerMemory final {
 public:
  // Takes the device over, and lets the engines reach its memory. Requires: `owned` outlives this.
  // Returns: NotFound when there is none; otherwise why it cannot be used.
  static absl::StatusOr<std::unique_ptr<PeerMemory>> Open(OwnedFrames& owned);
  ~PeerMemory();
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  std::span<std::byte> bytes() const { return {data_, bus_.bytes}; }  // As a CPU sees it.
  const BusRange& bus() const { return bus_; }                        // As other devices do.

  // An entry of a list for some of it, as an application has to make it.
  Phyr Entry(std::size_t offset, std::size_t bytes) const {
    return {bus_.address + offset, bytes, PhyrFlags::kBusAddress | PhyrFlags::kDevice};
  }

 private:
  PeerMemory(std::string folder, OwnedFrames& owned) : folder_(std::move(folder)), owned_(owned) {}
  absl::Status Map();

  const std::string folder_;
  OwnedFrames& owned_;
  BusRange bus_;
  std::byte* data_ = nullptr;
  std::vector<std::uint64_t> frames_;
};

}  // namespace linchpin::testing
