#include "tests/device/test_device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "lib/base/check.h"

namespace linchpin::testing {

std::string TestDeviceName() {
  const char* name = std::getenv("LINCHPIN_TEST_DEVICE");
  return name != nullptr && *name != '\0' ? name : "loopback";
}

TestMemory::TestMemory(std::size_t bytes) : size_(bytes) {
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  LINCHPIN_CHECK(mapped != MAP_FAILED);
  data_ = static_cast<std::byte*>(mapped);
}

TestMemory::~TestMemory() {
  munmap(data_, size_);
}

Range TestMemory::range(std::size_t offset, std::size_t length) const {
  const auto start = reinterpret_cast<std::uintptr_t>(data_) + offset;
  return {start, start + length};
}

void TestMemory::Fill(std::uint32_t seed) {
  std::uint64_t state = seed * std::uint64_t{0x9e3779b97f4a7c15} + 1;
  for (std::size_t at = 0; at < size_; at += sizeof(state)) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::memcpy(data_ + at, &state, std::min(sizeof(state), size_ - at));
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
