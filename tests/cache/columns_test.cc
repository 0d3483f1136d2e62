// What columns of counts sum to, who has which column, and when nobody writes one.
#include "lib/cache/columns.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::internal {
namespace {

constexpr std::uint64_t kCapacity = 5000;
constexpr RegionId kId = 5;

class ColumnsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(columns_.Reserve().ok()); }

  Column* Attach() { return columns_.Attach(kId + 1, kCapacity); }

  bool Enter(Column& mine) {
    return barrier_.asymmetric() ? columns_.Enter<Gate::kOpen>(mine)
                                 : columns_.Enter<Gate::kFenced>(mine);
  }

  static void Acquire(Column& column) {
    AddAlone(column.counts[kId].acquired, std::memory_order_relaxed);
  }
  static void Release(Column& column) {
    AddAlone(column.counts[kId].released, std::memory_order_release);
  }

  Barrier barrier_;
  Columns columns_{barrier_};
};

TEST_F(ColumnsTest, AThreadHasNoneUntilItAttaches) {
  Column* before = nullptr;
  Column* attached = nullptr;
  Column* after = nullptr;
  std::thread([&] {
    before = columns_.Mine();
    attached = Attach();
    after = columns_.Mine();
  }).join();
  EXPECT_EQ(before, nullptr);
  ASSERT_NE(attached, nullptr);
  EXPECT_EQ(after, attached);
  EXPECT_GT(attached->ids, kId);
}

TEST_F(ColumnsTest, OpensMoreIdsWhereItIs) {
  Column* const column = Attach();
  ASSERT_NE(column, nullptr);
  const Count* const counts = column->counts;
  Acquire(*column);
  ASSERT_EQ(columns_.Attach(kCapacity + 1, kCapacity), column);
  EXPECT_EQ(column->ids, kCapacity + 1);
  EXPECT_EQ(column->counts, counts);
  column->counts[kCapacity].acquired = 3;
  EXPECT_EQ(columns_.Sum(kCapacity), 3u);
  EXPECT_EQ(columns_.Sum(kId), 1u);
}

TEST_F(ColumnsTest, SumsOverThreads) {
  constexpr int kThreads = 8;
  constexpr std::uint32_t kEach = 1000;
  std::latch counted(kThreads);
  std::latch summed(1);
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      Column* const mine = Attach();
      for (std::uint32_t times = 0; mine != nullptr && times < kEach; ++times) {
        Acquire(*mine);
        if (times % 4 == 0) Release(*mine);
      }
      counted.count_down();
      summed.wait();
    });
  }
  counted.wait();
  EXPECT_EQ(columns_.Sum(kId), kThreads * kEach * 3 / 4);
  EXPECT_EQ(columns_.Sum(kId + 1), 0u);
  EXPECT_EQ(columns_.Sum(kCapacity), 0u) << "of an id that no column is open for";
  int seen = 0;
  columns_.ForEach([&](const Column&) { ++seen; });
  EXPECT_EQ(seen, kThreads);
  summed.count_down();
  for (std::thread& thread : threads) thread.join();
}

// What one thread has too many another has too few: only the sum is to be right.
TEST_F(ColumnsTest, SumsWhatOneThreadTookAndAnotherGaveBack) {
  Column* const here = Attach();
  ASSERT_NE(here, nullptr);
  for (int i = 0; i < 3; ++i) Acquire(*here);
  std::thread([&] {
    Column* const there = Attach();
    for (int i = 0; there != nullptr && i < 2; ++i) Release(*there);
  }).join();
  EXPECT_EQ(columns_.Sum(kId), 1u);
}

TEST_F(ColumnsTest, TheNextThreadHasTheColumnWithWhatIsInIt) {
  Column* first = nullptr;
  Column* second = nullptr;
  std::uint32_t residue = 0;
  std::thread([&] {
    first = Attach();
    if (first != nullptr) Acquire(*first);
  }).join();
  EXPECT_EQ(columns_.Sum(kId), 1u) << "the lease outlives its thread";
  std::thread([&] {
    second = Attach();
    residue = second == nullptr ? 0 : second->counts[kId].acquired.load();
    if (second != nullptr) Release(*second);
  }).join();
  EXPECT_EQ(second, first);
  EXPECT_EQ(residue, 1u);
  EXPECT_EQ(columns_.Sum(kId), 0u);
}

// Asks for a column when its thread's slot is gone.
struct Late {
  Columns* columns = nullptr;
  Column* mine = nullptr;
  Column* attached = nullptr;
};

TEST_F(ColumnsTest, AThreadThatIsEndingHasNone) {
  ThreadSlot::Claim();  // Makes the slots' own key: one that is made later is destroyed later.
  pthread_key_t key{};
  ASSERT_EQ(pthread_key_create(&key,
                               [](void* value) {
                                 auto& late = *static_cast<Late*>(value);
                                 late.mine = late.columns->Mine();
                                 late.attached = late.columns->Attach(1, kCapacity);
                               }),
            0);
  Late late{&columns_};
  std::thread([&] {
    late.mine = late.attached = Attach();
    EXPECT_NE(late.mine, nullptr);
    EXPECT_EQ(pthread_setspecific(key, &late), 0);
  }).join();
  EXPECT_EQ(late.mine, nullptr);
  EXPECT_EQ(late.attached, nullptr);
  EXPECT_EQ(pthread_key_delete(key), 0);
}

TEST_F(ColumnsTest, NobodyEntersWhileTheGateIsClosed) {
  Column* const mine = Attach();
  ASSERT_NE(mine, nullptr);
  EXPECT_TRUE(Enter(*mine));
  Columns::Leave(*mine);
  columns_.CloseGate();
  columns_.AwaitQuiet();
  EXPECT_FALSE(Enter(*mine));
  EXPECT_EQ(mine->inside, 0u) << "who was refused is not waited for";
  columns_.AwaitQuiet();
  columns_.OpenGate();
  EXPECT_TRUE(Enter(*mine));
  Columns::Leave(*mine);
}

// A hit may use the cheap barriers only where the heavy side makes up for them.
TEST(Columns, TheGateSaysWhichBarriersASectionNeeds) {
  for (const bool refuse : {false, true}) {
    Barrier::RefuseForTest(refuse);
    const Barrier barrier;
    Barrier::RefuseForTest(false);
    Columns columns(barrier);
    ASSERT_TRUE(columns.Reserve().ok());
    Column* const mine = columns.Attach(kId + 1, kCapacity);
    ASSERT_NE(mine, nullptr);
    EXPECT_EQ(columns.gate(), barrier.asymmetric() ? Gate::kOpen : Gate::kFenced);
    EXPECT_EQ(columns.Enter<Gate::kOpen>(*mine), barrier.asymmetric());
    Columns::Leave(*mine);
    EXPECT_EQ(columns.Enter<Gate::kFenced>(*mine), !barrier.asymmetric());
    Columns::Leave(*mine);
    columns.CloseGate();
    columns.OpenGate();
    EXPECT_EQ(columns.gate(), barrier.asymmetric() ? Gate::kOpen : Gate::kFenced);
  }
}

TEST_F(ColumnsTest, AwaitQuietWaitsForOneInside) {
  Column* const mine = Attach();
  ASSERT_NE(mine, nullptr);
  ASSERT_TRUE(Enter(*mine));
  std::atomic<bool> quiet = false;
  std::thread waiter([&] {
    columns_.CloseGate();
    columns_.AwaitQuiet();
    quiet = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // Time to be wrong in.
  EXPECT_FALSE(quiet);
  Acquire(*mine);
  Columns::Leave(*mine);
  waiter.join();
  EXPECT_TRUE(quiet);
  EXPECT_EQ(columns_.Sum(kId), 1u) << "what was counted inside is there";
}

// The counts are written without a lock by whoever is alone with them; ThreadSanitizer watches.
TEST_F(ColumnsTest, WhoAwaitedQuietIsAloneWithTheColumns) {
  constexpr int kFolds = 300;
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> counted = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      Column* const mine = Attach();
      std::uint64_t entered = 0;
      while (mine != nullptr && !stop) {
        if (!Enter(*mine)) continue;
        ++mine->settled_at;  // Not atomic.
        Columns::Leave(*mine);
        ++entered;
      }
      counted += entered;
    });
  }
  std::uint64_t folded = 0;
  const auto fold = [&] {
    columns_.CloseGate();
    columns_.AwaitQuiet();
    columns_.ForEach([&](Column& column) { folded += std::exchange(column.settled_at, 0); });
    columns_.OpenGate();
  };
  for (int i = 0; i < kFolds; ++i) {
    fold();
    std::this_thread::yield();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  fold();
  EXPECT_EQ(folded, counted);
}

}  // namespace
}  // namespace linchpin::internal
