// A courier that sends bytes through a device and returns what arrived.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "apps/transport/transport.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {

// Bytes that no other seed gives in this place.
std::string Pattern(std::uint64_t seed, std::size_t length);

// Not thread-safe; each thread has its own.
class Courier final {
 public:
  static constexpr std::size_t kMaxBytes = 256 << 10;

  static absl::StatusOr<std::unique_ptr<Courier>> Make(Device& device);
  ~Courier();
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;

  // Has the device read `length` bytes at `address` under `lkey`, and returns what it read.
  absl::StatusOr<std::string> Carry(const void* address, std::size_t length, std::uint32_t lkey);

  // Has the device write `bytes` to a peer's memory.
  absl::StatusOr<Completion> Send(const std::string& bytes, RemoteExtent remote);

 private:
  Courier(std::unique_ptr<Transport> transport, std::shared_ptr<Registrar> registrar);

  std::unique_ptr<Transport> transport_;
  std::shared_ptr<Registrar> registrar_;
  Mapped own_{kMaxBytes};
  Registration registration_;  // Of `own_`.
};

}  // namespace linchpin::testing
