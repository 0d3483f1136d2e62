// The benchmark's own verification: a transfer that goes wrong is seen, counted, and leaves nothing
// pinned.
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "apps/linchpin/bench/buffers.h"
#include "apps/linchpin/bench/run.h"
#include "apps/linchpin/quantity.h"
#include "apps/transport/transport.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {
namespace {

// A transport in which one thing goes wrong.
class FaultyTransport final : public Transport {
 public:
  enum class Fault { kNone, kBytesLost, kByteFlipped, kRemoteError, kPostRefused, kPollBroken };

  FaultyTransport(std::unique_ptr<Transport> inner, Fault fault, int at)
      : inner_(std::move(inner)), fault_(fault), at_(at) {}

  const std::string& device() const override { return inner_->device(); }
  std::shared_ptr<Registrar> registrar() const override { return inner_->registrar(); }
  std::size_t depth() const override { return inner_->depth(); }
  std::size_t outstanding() const override {
    return fault_ == Fault::kBytesLost ? lost_ : inner_->outstanding();
  }

  absl::Status Post(const Transfer& transfer) override {
    remotes_.push_back(transfer.remote.address);
    if (fault_ == Fault::kPostRefused && static_cast<int>(remotes_.size()) > at_) {
      return absl::UnavailableError("no more posts");
    }
    if (fault_ != Fault::kBytesLost) return inner_->Post(transfer);
    ++lost_;
    return absl::OkStatus();
  }

  absl::StatusOr<Completion> Poll() override {
    const int now = polled_++;
    if (fault_ == Fault::kBytesLost) {
      --lost_;
      return Completion::kSuccess;
    }
    absl::StatusOr<Completion> completion = inner_->Poll();
    if (now != at_) return completion;
    if (fault_ == Fault::kPollBroken || fault_ == Fault::kRemoteError) {
      // As the contract has it, the others are flushed.
      while (inner_->outstanding() > 0) EXPECT_TRUE(inner_->Poll().ok());
      if (fault_ == Fault::kRemoteError) return Completion::kRemoteAccessError;
      return absl::UnavailableError("no more completions");
    }
    if (fault_ == Fault::kByteFlipped) {
      auto* byte = reinterpret_cast<std::byte*>(remotes_[static_cast<std::size_t>(now)] + 100);
      *byte = ~*byte;
    }
    return completion;
  }

 private:
  std::unique_ptr<Transport> inner_;
  Fault fault_;
  int at_;  // The number of the transfer.
  int polled_ = 0;
  std::size_t lost_ = 0;  // Posted and not polled, when the fault is kBytesLost.
  std::vector<std::uint64_t> remotes_;
};

class Verification : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::shared_ptr<Device>> device = OpenDevice("loopback");
    if (!device.ok()) GTEST_SKIP() << device.status();
    device_ = *std::move(device);
    pinned_ = PinnedBytes();
  }

  // 44 writes in 11 rounds, over 8 buffers of 4 KiB each.
  absl::StatusOr<std::vector<BenchRow>> Run(FaultyTransport::Fault fault, int at,
                                            Strategy strategy) {
    absl::StatusOr<std::unique_ptr<Transport>> inner = device_->Connect();
    if (!inner.ok()) return inner.status();
    FaultyTransport transport(*std::move(inner), fault, at);
    BenchOptions options;
    options.sizes = {4096};
    options.strategies = {strategy};
    options.iterations = 44;
    options.buffers = 8;
    return RunBench(transport, options, 4096);
  }

  void ExpectNothingPinned() {
    EXPECT_TRUE(WaitFor("pins back at their start", [this] { return PinnedBytes() <= pinned_; }));
  }

  std::shared_ptr<Device> device_;
  std::uint64_t pinned_ = 0;
};

constexpr Strategy kAll[] = {Strategy::kPreregistered, Strategy::kCached, Strategy::kPerOperation};

TEST_F(Verification, AGoodTransportHasNoWrongByte) {
  for (const Strategy strategy : kAll) {
    const auto rows = Run(FaultyTransport::Fault::kNone, 0, strategy);
    ASSERT_TRUE(rows.ok()) << rows.status();
    EXPECT_EQ(rows->at(0).bytes_verified, 44U * 4096);
    EXPECT_EQ(rows->at(0).bytes_wrong, 0U);
  }
  ExpectNothingPinned();
}

TEST_F(Verification, OneFlippedByteIsOneWrongByte) {
  for (const Strategy strategy : kAll) {
    const auto rows = Run(FaultyTransport::Fault::kByteFlipped, 17, strategy);
    ASSERT_TRUE(rows.ok()) << rows.status();
    EXPECT_EQ(rows->at(0).bytes_wrong, 1U);
  }
}

TEST_F(Verification, BytesThatNeverArriveAreAllWrong) {
  const auto rows = Run(FaultyTransport::Fault::kBytesLost, 0, Strategy::kCached);
  ASSERT_TRUE(rows.ok()) << rows.status();
  EXPECT_EQ(rows->at(0).bytes_wrong, rows->at(0).bytes_verified);
}

TEST_F(Verification, AFailedTransferEndsTheRunAndLeavesNothingPinned) {
  using Fault = FaultyTransport::Fault;
  const std::pair<Fault, std::string> faults[] = {{Fault::kRemoteError, "remote access error"},
                                                  {Fault::kPostRefused, "no more posts"},
                                                  {Fault::kPollBroken, "no more completions"}};
  for (const auto& [fault, said] : faults) {
    for (const Strategy strategy : kAll) {
      const auto rows = Run(fault, 17, strategy);
      ASSERT_FALSE(rows.ok());
      EXPECT_NE(rows.status().ToString().find(said), std::string::npos) << rows.status();
      ExpectNothingPinned();
    }
  }
}

TEST(Pattern, EveryByteOfTheWrongPatternIsCountedAsWrong) {
  const Pattern pattern({.strategy = 1, .round = 2, .buffer = 3});
  for (std::size_t size = 1; size <= 40; ++size) {
    std::vector<std::byte> data(size + 1, std::byte{0x5A});
    pattern.FillWrong(data.data(), size);
    EXPECT_EQ(pattern.CountWrong(data.data(), size), size);
    pattern.Fill(data.data(), size);
    EXPECT_EQ(pattern.CountWrong(data.data(), size), 0U);
    EXPECT_EQ(data[size], std::byte{0x5A}) << "written past the end";
    data[size - 1] ^= std::byte{1};
    EXPECT_EQ(pattern.CountWrong(data.data(), size), 1U);
  }
}

TEST(Pattern, StrategyRoundBufferAndOffsetMakeADifference) {
  constexpr std::size_t kSize = 4096;
  std::vector<std::byte> data(2 * kSize);
  const Pattern pattern({.strategy = 1, .round = 2, .buffer = 3});
  pattern.Fill(data.data(), data.size());
  const Pattern others[] = {Pattern({.strategy = 2, .round = 2, .buffer = 3}),
                            Pattern({.strategy = 1, .round = 3, .buffer = 3}),
                            Pattern({.strategy = 1, .round = 2, .buffer = 4}),
                            Pattern({.strategy = 2, .round = 1, .buffer = 3})};
  for (const Pattern& other : others) {
    EXPECT_GT(other.CountWrong(data.data(), kSize), kSize * 9 / 10);
  }
  EXPECT_GT(pattern.CountWrong(data.data() + 8, kSize), kSize * 7 / 10);
}

TEST(Quantity, SizesTakeASuffix) {
  const std::pair<const char*, std::uint64_t> sizes[] = {{"1", 1},
                                                         {"65536", 65536},
                                                         {"64K", 65536},
                                                         {"64k", 65536},
                                                         {"3M", 3 << 20},
                                                         {"2G", std::uint64_t{2} << 30},
                                                         {"1t", std::uint64_t{1} << 40}};
  for (const auto& [text, bytes] : sizes) {
    const absl::StatusOr<std::uint64_t> size = ParseSize("--size", text);
    ASSERT_TRUE(size.ok()) << size.status();
    EXPECT_EQ(*size, bytes);
  }
  EXPECT_EQ(FormatSize(65536), "64 KiB");
  EXPECT_EQ(FormatSize(65537), "65537 B");
  EXPECT_EQ(FormatSize(std::uint64_t{1} << 40), "1 TiB");
}

}  // namespace
}  // namespace linchpin::testing
