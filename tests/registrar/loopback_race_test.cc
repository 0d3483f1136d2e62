// Tests threads that register, transfer and deregister on one loopback device at once.
#include <sys/mman.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/registrar/loopback_fixture.h"

namespace linchpin {
namespace {

using testing::FillRandomly;
using testing::kAllRights;
using testing::LoopbackTest;
using testing::Mapped;
using testing::PinnedBytes;
using testing::WaitFor;

class LoopbackRace : public LoopbackTest {};

// Each thread writes from a shared registration that others deregister and replace meanwhile. What
// arrives is all of it, or the key was dead.
TEST_F(LoopbackRace, ATransferEitherArrivesOrFindsTheKeyDead) {
  constexpr std::size_t kThreads = 6;
  constexpr std::size_t kBytes = 40000;
  constexpr int kRounds = 300;
  const Mapped source(kBytes);
  FillRandomly({source.data(), kBytes}, 9);
  const Mapped sinks(kThreads * kBytes);
  std::mutex mutex;
  Registration shared = Register(source);
  std::atomic<int> wrong{0};
  std::atomic<int> arrived{0};
  const auto work = [&](std::size_t t) {
    char* const sink = sinks.data() + t * kBytes;
    const auto start = reinterpret_cast<std::uintptr_t>(sink);
    for (int round = 0; round < kRounds; ++round) {
      auto own = device_->Register({start, start + kBytes}, kAllRights);
      std::memset(sink, 0, kBytes);
      std::unique_lock lock(mutex);
      const LocalExtent local = Local(shared, 0, kBytes);
      lock.unlock();
      const Completion completion =
          own.ok() ? Write(local, Remote(*own)) : Completion::kGeneralError;
      const bool is_right = std::memcmp(sink, source.data(), kBytes) == 0;
      if (completion == Completion::kSuccess && is_right) {
        ++arrived;
      } else if (completion != Completion::kLocalProtectionError) {
        ++wrong;
      }
      if (!own.ok() || !device_->Deregister(*own).ok()) ++wrong;
      if (round % 3 != 0) continue;
      auto fresh = device_->Register({source.start(), source.start() + kBytes}, Access::kLocalRead);
      if (!fresh.ok()) {
        ++wrong;
        continue;
      }
      lock.lock();
      std::swap(shared, *fresh);
      lock.unlock();
      if (!device_->Deregister(*fresh).ok()) ++wrong;
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) threads.emplace_back(work, t);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(arrived, 0);
  EXPECT_TRUE(device_->Deregister(shared).ok());
  EXPECT_TRUE(WaitFor("all unpinned", [&] { return PinnedBytes() == pinned_at_start_; }));
}

// Once Deregister has returned the device does not touch the pages, even for a transfer that was
// under way: the sink is deregistered in the middle, then wiped, and must stay so.
TEST_F(LoopbackRace, NoByteArrivesAfterDeregisterReturns) {
  constexpr std::size_t kBytes = 32 << 20;
  const Mapped source(kBytes);
  const Mapped sink(kBytes);
  std::memset(source.data(), 's', kBytes);
  const std::string wiped(kBytes, 'z');
  const Registration from = Register(source);
  int under_way = 0;
  for (int round = 0; round < 10; ++round) {
    std::memset(sink.data(), 0, kBytes);
    Registration to = Register(sink);
    const RemoteExtent remote = Remote(to);
    std::atomic<bool> started{false};
    Completion completion = Completion::kGeneralError;
    std::thread transfer([&] {
      started = true;
      completion = Write(Local(from, 0, kBytes), remote);
    });
    while (!started) std::this_thread::yield();
    ASSERT_TRUE(device_->Deregister(to).ok());
    const bool was_under_way = sink.data()[0] == 's';
    std::memset(sink.data(), 'z', kBytes);
    transfer.join();
    EXPECT_EQ(completion, was_under_way ? Completion::kSuccess : Completion::kRemoteAccessError);
    EXPECT_EQ(std::memcmp(sink.data(), wiped.data(), kBytes), 0);
    if (was_under_way) ++under_way;
  }
  RecordProperty("under_way", under_way);
}

// In all those chunks others get their turn; on a ring held for the whole transfer none would.
TEST_F(LoopbackRace, RegistrationsGoOnDuringALongTransfer) {
  constexpr std::size_t kBytes = 128 << 20;
  const Mapped memory(2 * kBytes);
  const Mapped small(testing::kPage);
  const Registration region = Register(memory);
  EXPECT_TRUE(WaitFor("20 registrations during one transfer", [&] {
    std::atomic<bool> stop{false};
    std::atomic<int> made{0};
    std::thread registering([&] {
      while (!stop) {
        Registration registration = Register(small);
        EXPECT_TRUE(device_->Deregister(registration).ok());
        ++made;
      }
    });
    while (made == 0) std::this_thread::yield();
    const int before = made;
    EXPECT_EQ(Write(Local(region, 0, kBytes), Remote(region, kBytes)), Completion::kSuccess);
    const int after = made;
    stop = true;
    registering.join();
    return after - before >= 20;
  }));
}

TEST_F(LoopbackRace, MoreThreadsThanBouncesAllFinish) {
  constexpr std::size_t kThreads = 40;
  constexpr std::size_t kBytes = 300000;
  const Mapped source(kBytes);
  FillRandomly({source.data(), kBytes}, 10);
  const Mapped sinks(kThreads * kBytes);
  const Registration from = Register(source);
  const Registration to = Register(sinks);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        if (Read(Local(to, t * kBytes, kBytes), Remote(from)) != Completion::kSuccess) ++wrong;
      }
      if (std::memcmp(sinks.data() + t * kBytes, source.data(), kBytes) != 0) ++wrong;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace linchpin
