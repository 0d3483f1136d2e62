// Transport: one-sided operations on a device, for the tool and the tests. Two kinds: the loopback
// device, and a pair of connected RC queue pairs on an RDMA device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "linchpin/loopback.h"
#include "linchpin/registrar.h"

namespace linchpin {

enum class Operation : std::uint8_t { kWrite, kRead, kCompareAndSwap };

// A work request. For kCompareAndSwap there is one local extent, of 8 bytes.
struct Transfer {
  Operation operation = Operation::kWrite;
  std::span<const LocalExtent> local;
  RemoteExtent remote;
  std::uint64_t compare = 0;
  std::uint64_t swap = 0;
};

// Not thread-safe: one thread at a time uses a transport; each thread may have its own.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual const std::string& device() const = 0;             // "loopback", or the device's name.
  virtual std::shared_ptr<Registrar> registrar() const = 0;  // The device's: the same for all.
  virtual std::size_t depth() const = 0;  // How many transfers may be outstanding.

  // Begins a transfer. Requires: fewer than depth() are outstanding.
  virtual absl::Status Post(const Transfer& transfer) = 0;

  // Waits for the oldest outstanding transfer. After any completion but kSuccess the transport has
  // flushed what was outstanding and recovered: it can be used again.
  virtual absl::StatusOr<Completion> Poll() = 0;

  // Post and Poll. Requires: nothing is outstanding.
  absl::StatusOr<Completion> Run(const Transfer& transfer);
};

// A device that was opened: its registrar (and protection domain) outlives every transport made.
class Device {
 public:
  virtual ~Device() = default;
  virtual const std::string& name() const = 0;
  virtual std::shared_ptr<Registrar> registrar() const = 0;
  virtual absl::StatusOr<std::unique_ptr<Transport>> Connect() = 0;
};

// Opens `name`: "loopback", an RDMA device, or "" for the best there is (the first RDMA device with
// an active port, else loopback).
// Returns: the device; NotFound, naming the devices there are, for an unknown name; Unavailable when
// it cannot be used (no active port, io_uring disabled), with what to change.
absl::StatusOr<std::shared_ptr<Device>> OpenDevice(const std::string& name);

}  // namespace linchpin
