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

// A work request. For kCompareAndSwap there is one local extent, of 8 bytes. The extents are read
// by Post; the memory they name must stay as it is until the transfer's completion.
struct Transfer {
  Operation operation = Operation::kWrite;
  std::span<const LocalExtent> local;
  RemoteExtent remote;
  std::uint64_t compare = 0;
  std::uint64_t swap = 0;
};

// One-sided operations in the order of their posting, like those of an RC queue pair: once one
// fails, those behind it are flushed, done or not.
//
// Not thread-safe: one thread at a time uses a transport; each thread may have its own.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual const std::string& device() const = 0;             // "loopback", or the device's name.
  virtual std::shared_ptr<Registrar> registrar() const = 0;  // The device's: the same for all.
  virtual std::size_t depth() const = 0;        // How many transfers may be outstanding.
  virtual std::size_t outstanding() const = 0;  // Posted, and not yet given back by Poll.

  // Begins a transfer, of any length and number of extents. Requires: fewer than depth() are
  // outstanding.
  // Returns: FailedPrecondition with depth() outstanding; InvalidArgument for a transfer that no
  // device can do, Unimplemented for one that this device cannot; otherwise why the device failed.
  // On error this transfer was not begun or was flushed; whether others are outstanding,
  // outstanding() tells.
  virtual absl::Status Post(const Transfer& transfer) = 0;

  // Waits for the oldest outstanding transfer. After any completion but kSuccess the transport has
  // flushed what was outstanding: outstanding() is 0, no memory is reached any more, and the
  // transport can be used again. The same holds on error.
  // Returns: how the transfer ended; FailedPrecondition when nothing is outstanding;
  // DeadlineExceeded when the device made no progress for 30 s.
  virtual absl::StatusOr<Completion> Poll() = 0;

  // Post and Poll. Requires: nothing is outstanding.
  absl::StatusOr<Completion> Run(const Transfer& transfer);

 protected:
  // Returns: why `transfer` cannot be posted, whatever the device.
  absl::Status CheckPost(const Transfer& transfer) const;
};

// A device that was opened. It stays open while the Device, its registrar or a transport is held.
class Device {
 public:
  virtual ~Device() = default;
  virtual const std::string& name() const = 0;
  virtual std::shared_ptr<Registrar> registrar() const = 0;
  virtual absl::StatusOr<std::unique_ptr<Transport>> Connect() = 0;
};

// Opens `name`: "loopback", an RDMA device, or "" for the best there is (the first RDMA device with
// an active port, else loopback).
// Returns: the device; NotFound, naming the devices there are, for an unknown name; Unavailable
// when it cannot be used (no active port, io_uring disabled), with what to change.
absl::StatusOr<std::shared_ptr<Device>> OpenDevice(const std::string& name);

}  // namespace linchpin
