// Many threads at once: what each may rely on, whatever the others do.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "linchpin/monitor.h"
#include "tests/monitor/place.h"
#include "tests/monitor/support.h"

namespace linchpin {
namespace {

using testing::kPage;
using testing::RangeOf;

constexpr std::size_t kBytes = 16 * kPage;
constexpr int kThreads = 8;

class MonitorRace : public ::testing::Test {
 protected:
  void SetUp() override {
    monitor_ = MemoryMonitor::Shared();
    if (!monitor_->status().ok()) GTEST_SKIP() << monitor_->status();
  }

  static void Run(int threads, const std::function<void(int)>& body) {
    std::vector<std::thread> running;
    running.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) running.emplace_back(body, i);
    for (std::thread& thread : running) thread.join();
  }

  std::shared_ptr<MemoryMonitor> monitor_;
};

// A cache as small as can be: for each slot, the range it believes in.
class Believer final : public MemoryMonitor::Listener {
 public:
  void OnChanged(Range range) override {
    for (auto& slot : slots_) {
      std::uintptr_t start = slot.load();
      if (start != 0 && range.Overlaps({start, start + kBytes})) {
        slot.compare_exchange_strong(start, 0);
      }
    }
  }
  void Believe(std::size_t slot, const void* start) {
    slots_[slot].store(reinterpret_cast<std::uintptr_t>(start));
  }
  bool Believes(std::size_t slot) const { return slots_[slot].load() != 0; }

 private:
  std::array<std::atomic<std::uintptr_t>, kThreads> slots_{};
};

TEST_F(MonitorRace, WhoUnmapsIsToldOfItselfBeforeItGoesOn) {
  const testing::Deadline deadline("threads that map, watch and unmap");
  Believer believer;
  monitor_->AddListener(&believer);
  std::atomic<int> watched{0};
  Run(kThreads, [&](int thread) {
    const auto slot = static_cast<std::size_t>(thread);
    for (int i = 0; i < 200; ++i) {
      void* const memory =
          mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      believer.Believe(slot, memory);
      const WatchedExtent extent = monitor_->Watch(RangeOf(memory, kBytes), false);
      const bool promised = extent.coverage != Coverage::kNone;
      if (promised) ++watched;
      std::memset(memory, 1, kBytes);
      if (i % 2 == 0) {
        munmap(memory, kBytes);
      } else {
        madvise(memory, kPage, MADV_DONTNEED);
      }
      monitor_->Settle();
      if (promised) {
        ASSERT_FALSE(believer.Believes(slot)) << "not told, " << extent.range.ToString();
      }
      if (i % 2 != 0) munmap(memory, kBytes);
    }
  });
  monitor_->RemoveListener(&believer);
  std::printf("watched %d of %d\n", watched.load(), kThreads * 200);
  // Others' changes of the neighbourhood make some looks collide, but few.
  EXPECT_GT(watched, kThreads * 200 / 2);
}

// The window of facts 2b: the kernel frees the address before the event is read, and another thread
// is given it meanwhile. By Settle() that thread hears of it before it relies on the address.
TEST_F(MonitorRace, WhoIsGivenTheAddressOfAnotherHearsOfTheUnmappingBeforeItRelies) {
  const testing::Deadline deadline("the address of another");
  Believer believer;
  monitor_->AddListener(&believer);
  const testing::Place place(kBytes);
  int taken = 0;
  for (int i = 0; i < 500; ++i) {
    static_cast<void>(mmap(place.data(), kBytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    monitor_->Settle();
    believer.Believe(0, place.data());
    ASSERT_EQ(monitor_->Watch(RangeOf(place.data(), kBytes), false).coverage, Coverage::kAll);
    std::thread unmaps([&place] { munmap(place.data(), kBytes); });
    const auto take = [&place] {
      return mmap(place.data(), kBytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    };
    while (take() != place.data()) {
    }
    if (believer.Believes(0)) ++taken;
    monitor_->Settle();
    ASSERT_FALSE(believer.Believes(0)) << "the old mapping is believed in";
    unmaps.join();
  }
  std::printf("given the address before the event was told: %d of 500\n", taken);
  monitor_->RemoveListener(&believer);
}

// Ends its life right after its removal: a late call would be a use after free.
TEST_F(MonitorRace, ARemovedListenerIsNotBeingCalled) {
  const testing::Deadline deadline("listeners that come and go");
  std::atomic<bool> stop{false};
  std::thread changes([&stop, this] {
    while (!stop) {
      void* const memory =
          mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      monitor_->Watch(RangeOf(memory, 1), false);
      munmap(memory, kBytes);
    }
  });
  Run(4, [this](int) {
    for (int i = 0; i < 200; ++i) {
      const auto believer = std::make_unique<Believer>();
      monitor_->AddListener(believer.get());
      monitor_->Settle();
      monitor_->RemoveListener(believer.get());
    }
  });
  stop = true;
  changes.join();
}

// The same memory, seen and changed by all at once: whatever is promised must be whole pages of
// what is there, and nobody may hang.
TEST_F(MonitorRace, OneMappingTornByAllGivesNoWrongAnswerAndNoHang) {
  const testing::Deadline deadline("one mapping torn by all");
  const testing::Place memory(kBytes);
  const Range whole = RangeOf(memory.data(), kBytes);
  Run(kThreads, [&](int thread) {
    char* const own = memory.data() + static_cast<std::size_t>(thread) * 2 * kPage;
    for (int i = 0; i < 150; ++i) {
      switch ((i + thread) % 4) {
        case 0:
          madvise(own, 2 * kPage, MADV_DONTNEED);
          break;
        case 1:
          mprotect(own, kPage, PROT_READ);
          break;
        case 2:
          mprotect(own, kPage, PROT_READ | PROT_WRITE);
          break;
        default:
          static_cast<void>(mmap(own, kPage, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
      }
      const WatchedExtent extent = monitor_->Watch(RangeOf(own, kPage), i % 8 == 0);
      ASSERT_TRUE(extent.range.Contains(RangeOf(own, kPage)));
      ASSERT_TRUE(whole.Contains(extent.range)) << extent.range.ToString();
    }
  });
}

}  // namespace
}  // namespace linchpin
