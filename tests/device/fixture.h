// A cache on the device under test, with the process's own monitor, and couriers to try its keys.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "apps/transport/transport.h"
#include "linchpin/cache.h"
#include "tests/device/courier.h"
#include "tests/device/test_device.h"
#include "tests/testing/memory.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {

inline constexpr Access kRead = Access::kLocalRead;
inline constexpr Access kWrite = Access::kLocalWrite;
inline constexpr Access kRemoteWritable = Access::kLocalWrite | Access::kRemoteWrite;

class DeviceFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = OpenDevice(TestDeviceName());
    if (!device.ok()) GTEST_SKIP() << device.status();
    device_ = *std::move(device);
    auto courier = Courier::Make(*device_);
    ASSERT_TRUE(courier.ok()) << courier.status();
    courier_ = *std::move(courier);
    Make();
  }

  void Make(CacheOptions options = {}) {
    cache_.reset();
    auto cache = RegistrationCache::Create(device_->registrar(), options);
    ASSERT_TRUE(cache.ok()) << cache.status();
    cache_ = *std::move(cache);
    if (!MemoryMonitor::Shared()->status().ok()) {
      GTEST_SKIP() << MemoryMonitor::Shared()->status();
    }
  }

  Lease Get(const void* address, std::size_t length, Access access) {
    auto lease = cache_->Acquire(address, length, access);
    EXPECT_TRUE(lease.ok()) << lease.status();
    return lease.ok() ? *std::move(lease) : Lease();
  }

  // What the device reads at `address`, through a lease that ends with the call.
  std::string CarryThroughCache(const char* address, std::size_t length) {
    const Lease lease = Get(address, length, kRead);
    if (!lease) return "no lease";
    auto carried = courier_->Carry(address, length, lease.lkey());
    EXPECT_TRUE(carried.ok()) << carried.status();
    return carried.ok() ? *std::move(carried) : "";
  }

  std::shared_ptr<Device> device_;
  std::unique_ptr<Courier> courier_;
  std::unique_ptr<RegistrationCache> cache_;
};

}  // namespace linchpin::testing
