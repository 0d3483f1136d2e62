// LoopbackTest: a loopback device, memory registered with it, and transfers between such memory.
#pragma once

#include <gtest/gtest.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <utility>

#include "linchpin/loopback.h"
#include "tests/testing/memory.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {

inline constexpr Access kAllRights = Access::kLocalWrite | kRemoteRights;

inline void FillRandomly(std::span<char> bytes, std::uint32_t seed) {
  std::minstd_rand random(seed);
  for (char& byte : bytes) byte = static_cast<char>(random() >> 8);
}

inline std::string Text(const char* data, std::size_t length) {
  return {data, length};
}

// Skips without io_uring. Every test leaves as much pinned as it found.
class LoopbackTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto device = LoopbackDevice::Create();
    if (absl::IsUnavailable(device.status())) GTEST_SKIP() << device.status().ToString();
    ASSERT_TRUE(device.ok()) << device.status().ToString();
    device_ = *std::move(device);
  }

  void TearDown() override {
    device_.reset();
    EXPECT_EQ(PinnedBytes(), pinned_at_start_);
  }

  Registration Register(Range range, Access access = kAllRights) {
    auto registration = device_->Register(range, access);
    EXPECT_TRUE(registration.ok()) << registration.status().ToString();
    if (registration.ok()) return *std::move(registration);
    Registration dead;
    dead.keys.emplace_back();
    return dead;
  }
  // A template, so that the two ends of a range in braces are not taken for a Mapped.
  template <std::same_as<Mapped> Memory>
  Registration Register(const Memory& memory, Access access = kAllRights) {
    return Register({memory.start(), memory.start() + memory.size()}, access);
  }

  static LocalExtent Local(const Registration& registration, std::size_t offset,
                           std::size_t length) {
    return {reinterpret_cast<const void*>(registration.range.start + offset), length,
            registration.keys[0].lkey};
  }
  static RemoteExtent Remote(const Registration& registration, std::size_t offset = 0) {
    return {registration.range.start + offset, registration.keys[0].rkey};
  }

  Completion Write(LocalExtent local, RemoteExtent remote) {
    return device_->Write({&local, 1}, remote);
  }
  Completion Read(LocalExtent local, RemoteExtent remote) {
    return device_->Read({&local, 1}, remote);
  }

  const std::uint64_t pinned_at_start_ = PinnedBytes();
  std::shared_ptr<LoopbackDevice> device_;
};

}  // namespace linchpin::testing

namespace linchpin {

// GoogleTest prints a completion by it.
inline void PrintTo(Completion completion, std::ostream* out) {
  *out << ToString(completion);
}

}  // namespace linchpin
