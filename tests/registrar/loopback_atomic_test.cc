// Tests the loopback device's compare-and-swap.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/registrar/loopback_fixture.h"

namespace linchpin {
namespace {

using testing::kAllRights;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;

class LoopbackAtomic : public LoopbackTest {
 protected:
  void SetUp() override {
    LoopbackTest::SetUp();
    if (device_ == nullptr) return;
    local_ = Register(mine_);
    remote_ = Register(yours_);
  }

  static std::uint64_t Word(const Mapped& memory, std::size_t offset) {
    std::uint64_t word = 0;
    std::memcpy(&word, memory.data() + offset, sizeof word);
    return word;
  }
  static void SetWord(const Mapped& memory, std::size_t offset, std::uint64_t word) {
    std::memcpy(memory.data() + offset, &word, sizeof word);
  }

  const Mapped mine_{kPage};
  const Mapped yours_{kPage};
  Registration local_;
  Registration remote_;
};

TEST_F(LoopbackAtomic, AnEqualWordIsReplacedAndReturned) {
  SetWord(yours_, 16, 0x1122334455667788);
  ASSERT_EQ(device_->CompareAndSwap(Local(local_, 3, 8), Remote(remote_, 16), 0x1122334455667788,
                                    0x99aabbccddeeff00),
            Completion::kSuccess);
  EXPECT_EQ(Word(yours_, 16), 0x99aabbccddeeff00);
  EXPECT_EQ(Word(mine_, 3), 0x1122334455667788);
  EXPECT_EQ(Word(yours_, 8), 0U);
  EXPECT_EQ(Word(yours_, 24), 0U);
}

TEST_F(LoopbackAtomic, AnotherWordIsReturnedAndStays) {
  SetWord(yours_, 16, 7);
  ASSERT_EQ(device_->CompareAndSwap(Local(local_, 0, 8), Remote(remote_, 16), 8, 9),
            Completion::kSuccess);
  EXPECT_EQ(Word(yours_, 16), 7U);
  EXPECT_EQ(Word(mine_, 0), 7U);
}

TEST_F(LoopbackAtomic, OtherThanEightAlignedBytesIsAnInvalidRequest) {
  for (const std::size_t offset : std::initializer_list<std::size_t>{1, 4, 7}) {
    EXPECT_EQ(device_->CompareAndSwap(Local(local_, 0, 8), Remote(remote_, offset), 0, 9),
              Completion::kRemoteInvalidRequest);
  }
  for (const std::size_t length : std::initializer_list<std::size_t>{0, 4, 7, 9, 16}) {
    EXPECT_EQ(device_->CompareAndSwap(Local(local_, 0, length), Remote(remote_), 0, 9),
              Completion::kRemoteInvalidRequest);
  }
  EXPECT_EQ(Word(yours_, 0), 0U);
}

TEST_F(LoopbackAtomic, ItNeedsRemoteAtomicAndLocalWrite) {
  const Registration readable = Register(mine_, Access::kRemoteRead);
  EXPECT_EQ(device_->CompareAndSwap(Local(readable, 0, 8), Remote(remote_), 0, 9),
            Completion::kLocalProtectionError);
  const Registration others =
      Register(yours_, Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead);
  EXPECT_EQ(device_->CompareAndSwap(Local(local_, 0, 8), Remote(others), 0, 9),
            Completion::kRemoteAccessError);
  EXPECT_EQ(device_->CompareAndSwap(Local(local_, 0, 8), Remote(remote_, kPage), 0, 9),
            Completion::kRemoteAccessError);
  EXPECT_EQ(Word(yours_, 0), 0U);
}

TEST_F(LoopbackAtomic, ThreadsThatCountByItLoseNoIncrement) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kIncrements = 1000;
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::uint64_t seen = 0;
      for (std::uint64_t done = 0; done < kIncrements;) {
        const std::uint64_t expected = seen;
        if (device_->CompareAndSwap(Local(local_, t * 8, 8), Remote(remote_, 64), expected,
                                    expected + 1) != Completion::kSuccess) {
          ++failures;
          return;
        }
        seen = Word(mine_, t * 8);
        if (seen != expected) continue;
        ++done;
        seen = expected + 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(Word(yours_, 64), kThreads * kIncrements);
}

}  // namespace
}  // namespace linchpin
