#include "tests/device/test_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace linchpin::testing {

std::string TestDeviceName() {
  const char* name = std::getenv("LINCHPIN_TEST_DEVICE");
  return name != nullptr && *name != '\0' ? name : "loopback";
}

Range TestMemory::range(std::size_t offset, std::size_t length) const {
  const std::uintptr_t start = memory_.start() + offset;
  return {start, start + length};
}

void TestMemory::Fill(std::uint32_t seed) {
  std::uint64_t state = seed * std::uint64_t{0x9e3779b97f4a7c15} + 1;
  for (std::size_t at = 0; at < size(); at += sizeof(state)) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::memcpy(data() + at, &state, std::min(sizeof(state), size() - at));
  }
}

void DeviceTest::SetUp() {
  const std::string name = TestDeviceName();
  auto opened = OpenDevice(name);
  if (!opened.ok() && std::getenv("LINCHPIN_TEST_DEVICE") == nullptr) {
    GTEST_SKIP() << opened.status();
  }
  ASSERT_TRUE(opened.ok()) << opened.status();
  device_ = *std::move(opened);
  ASSERT_EQ(device_->name(), name);
}

std::unique_ptr<Transport> DeviceTest::Connect() {
  auto transport = device_->Connect();
  EXPECT_TRUE(transport.ok()) << transport.status();
  return transport.ok() ? *std::move(transport) : nullptr;
}

Registration DeviceTest::Register(Range range, Access access) {
  auto registration = registrar().Register(range, access);
  EXPECT_TRUE(registration.ok()) << registration.status();
  if (!registration.ok()) return {.range = range, .access = access, .keys = {{}}, .handle = 0};
  return *std::move(registration);
}

void DeviceTest::Deregister(Registration& registration) {
  const absl::Status status = registrar().Deregister(registration);
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace linchpin::testing
