// The device that the device tests run on, and memory to transfer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "gtest/gtest.h"

#include "apps/transport/transport.h"
#include "linchpin/range.h"
#include "linchpin/registrar.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {

// LINCHPIN_TEST_DEVICE, or "loopback" where that is not set.
std::string TestDeviceName();

// Mapped memory as bytes to transfer.
class TestMemory final {
 public:
  explicit TestMemory(std::size_t bytes) : memory_(bytes) {}

  std::byte* data() const { return reinterpret_cast<std::byte*>(memory_.data()); }
  std::size_t size() const { return memory_.size(); }
  std::span<std::byte> bytes() const { return {data(), size()}; }
  std::uint64_t address() const { return memory_.start(); }
  Range range(std::size_t offset, std::size_t length) const;
  Range range() const { return range(0, size()); }

  // Bytes that differ from those of any other seed, and from page to page.
  void Fill(std::uint32_t seed);

 private:
  Mapped memory_;
};

// Opens the device. A device that was asked for by name must be there; where none was, the test is
// skipped if the process may not use the loopback device.
class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override;

  Device& device() { return *device_; }
  Registrar& registrar() { return *device_->registrar(); }
  std::unique_ptr<Transport> Connect();

  // A registration that must succeed; it is undone by the test, or with the device.
  Registration Register(Range range, Access access);
  void Deregister(Registration& registration);

 private:
  std::shared_ptr<Device> device_;
};

}  // namespace linchpin::testing
