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

namespace linchpin::testing {

// LINCHPIN_TEST_DEVICE, or "loopback" where that is not set.
std::string TestDeviceName();

// Anonymous memory of its own mapping.
class TestMemory final {
 public:
  explicit TestMemory(std::size_t bytes);
  ~TestMemory();
  TestMemory(const TestMemory&) = delete;
  TestMemory& operator=(const TestMemory&) = delete;

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  std::uint64_t address() const { return reinterpret_cast<std::uintptr_t>(data_); }
  Range range(std::size_t offset, std::size_t length) const;
  Range range() const { return range(0, size_); }

  // Bytes that differ from those of any other seed, and from page to page.
  void Fill(std::uint32_t seed);

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
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
