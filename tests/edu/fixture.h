// A guest with engines and a device that pins: what each of these tests needs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <random>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "apps/transport/transport.h"
#include "tests/device/test_device.h"
#include "tests/edu/edu_engine.h"
#include "tests/edu/owned_frames.h"
#include "tests/edu/pinned_memory.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {

class EduTest : public ::testing::Test {
 protected:
  // LINCHPIN_TEST_EDU=required is what a guest's command line says that has engines, and of the
  // mask that rxe-vm gives them. Elsewhere there is none, or one whose mask nobody knows, so that
  // it might write to other addresses than it was told.
  void SetUp() override {
    const char* said = std::getenv("LINCHPIN_TEST_EDU");
    if (said == nullptr || *said == '\0') {
      GTEST_SKIP()
          << "no DMA engine here: tools/rxe-vm --edu 24 has some, and what runs there says "
             "so by LINCHPIN_TEST_EDU=required";
    }
    ASSERT_EQ(std::string_view(said), "required") << "the only value of LINCHPIN_TEST_EDU";
    auto device = OpenDevice(TestDeviceName());
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
    auto engines = EduEngine::OpenAll(owned_);
    ASSERT_TRUE(engines.ok()) << engines.status();
    engines_ = *std::move(engines);
    pinned_before_ = PinnedBytes();
    std::ofstream("/proc/sys/vm/nr_hugepages") << 16;
  }

  void TearDown() override {
    if (device_ == nullptr || IsSkipped()) return;
    EXPECT_TRUE(WaitFor("VmPin back", [&] { return PinnedBytes() == pinned_before_; }));
  }

  std::unique_ptr<PageMemory> Memory(PageKind kind, std::size_t bytes) {
    auto memory = PageMemory::Make(kind, bytes, random_);
    EXPECT_TRUE(memory.ok()) << memory.status();
    return memory.ok() ? *std::move(memory) : nullptr;
  }

  std::unique_ptr<PinnedRange> Pin(Range range) {
    auto pinned = PinnedRange::Make(range, device_->registrar(), owned_);
    EXPECT_TRUE(pinned.ok()) << pinned.status();
    return pinned.ok() ? *std::move(pinned) : nullptr;
  }

  EduEngine& engine() { return *engines_.front(); }

  OwnedFrames owned_;  // Before the engines, which look at it.
  std::vector<std::unique_ptr<EduEngine>> engines_;
  std::shared_ptr<Device> device_;
  std::mt19937_64 random_;  // NOLINT(cert-msc51-cpp): the same in each run; lists have a seed.

 private:
  std::uint64_t pinned_before_ = 0;
};

// Random bytes, so that no two places look alike.
inline void Fill(std::span<std::byte> bytes, std::mt19937_64& random) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at));
  }
}

// Where two pieces of memory of one length differ first; their length, where they do not.
inline std::size_t FirstDifference(std::span<const std::byte> a, std::span<const std::byte> b) {
  if (a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0) return a.size();
  const auto end = a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<std::size_t>(std::mismatch(a.begin(), end, b.begin()).first - a.begin());
}

}  // namespace linchpin::testing
