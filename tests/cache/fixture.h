// A cache over a FakeRegistrar and a ManualMonitor.
#pragma once

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "linchpin/cache.h"
#include "linchpin/monitor.h"
#include "tests/testing/fake_registrar.h"
#include "tests/testing/memory.h"
#include "tests/testing/owner.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {

inline constexpr Access kRead = Access::kLocalRead;
inline constexpr Access kWrite = Access::kLocalWrite;
inline constexpr Access kRemote = Access::kLocalWrite | Access::kRemoteWrite;

class CacheFixture : public ::testing::Test {
 protected:
  void Make(CacheOptions options = {}) {
    if (options.max_idle_bytes == 0) options.max_idle_bytes = 1 << 30;
    if (options.monitor == nullptr) options.monitor = monitor_;
    auto made = RegistrationCache::Create(registrar_, options);
    ASSERT_TRUE(made.ok()) << made.status();
    cache_ = *std::move(made);
  }

  Lease Get(const void* address, std::size_t length, Access access) {
    auto lease = cache_->Acquire(address, length, access);
    EXPECT_TRUE(lease.ok()) << lease.status();
    cache_->CheckInvariantsForTest();
    return lease.ok() ? *std::move(lease) : Lease();
  }

  Lease GetFor(const Owner& owner, const void* address, std::size_t length, Access access) {
    auto lease = cache_->Acquire(address, length, access, owner.file);
    EXPECT_TRUE(lease.ok()) << lease.status();
    cache_->CheckInvariantsForTest();
    return lease.ok() ? *std::move(lease) : Lease();
  }

  void TearDown() override {
    if (cache_ != nullptr) {
      cache_->CheckInvariantsForTest();
      EXPECT_EQ(cache_->stats().audit_findings, expected_findings_);
    }
    cache_.reset();
    EXPECT_EQ(registrar_->registered_count(), 0u) << "something was never deregistered";
  }

  static Range RangeAt(const void* address, std::size_t length) {
    return *Range::Of(address, length);
  }

  std::shared_ptr<FakeRegistrar> registrar_ = std::make_shared<FakeRegistrar>();
  std::shared_ptr<ManualMonitor> monitor_ = std::make_shared<ManualMonitor>();
  std::unique_ptr<RegistrationCache> cache_;
  std::uint64_t expected_findings_ = 0;  // Of the last cache that was made.
};

}  // namespace linchpin::testing
