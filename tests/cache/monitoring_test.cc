// What the cache asks of its monitor, and what it makes of the answers.
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

// Finds what it is told to find, and tells of changes no sooner than it must: when someone settles.
class LateMonitor final : public MemoryMonitor {
 public:
  // What Watch() finds from now on, on whole pages.
  void Find(Coverage coverage, bool passing) {
    coverage_ = coverage;
    passing_ = passing;
  }

  // As when a thread unmaps `range`: it goes on before any listener has been told.
  void Happen(Range range) {
    const MutexLock lock(mutex_);
    untold_.push_back(range);
  }

  int looks() const { return looks_; }

  // The next Watch() calls `change` when it has found what it finds.
  void DuringNextLook(std::function<void()> change) { during_next_look_ = std::move(change); }

  void Tell(Range range) { listener_->OnChanged(range); }

  void AddListener(Listener* listener) override { listener_ = listener; }
  void RemoveListener(Listener* listener) override {
    if (listener_ == listener) listener_ = nullptr;  // Not when a new cache took its place.
  }
  WatchedExtent Watch(Range range, bool) override {
    ++looks_;
    WatchedExtent extent;
    extent.range = {range.start & ~(kPage - 1), (range.end + kPage - 1) & ~(kPage - 1)};
    extent.uniform = true;
    extent.coverage = coverage_;
    extent.passing = passing_;
    if (const auto look = std::exchange(during_next_look_, nullptr)) look();
    return extent;
  }
  void Forget(Range) override {}
  void Settle() override {
    std::vector<Range> untold;
    {
      const MutexLock lock(mutex_);
      untold.swap(untold_);
    }
    for (const Range& range : untold) listener_->OnChanged(range);
  }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  Coverage coverage_ = Coverage::kAll;
  bool passing_ = false;
  int looks_ = 0;
  std::function<void()> during_next_look_;
  Listener* listener_ = nullptr;
  Mutex mutex_;
  std::vector<Range> untold_ ABSL_GUARDED_BY(mutex_);
};

class Monitoring : public CacheFixture {
 protected:
  void Make(CacheOptions options = {}) {
    options.monitor = late_;
    CacheFixture::Make(options);
  }

  std::shared_ptr<LateMonitor> late_ = std::make_shared<LateMonitor>();
};

TEST_F(Monitoring, ALeaseIsStaleAsSoonAsAnotherThreadHasUnmapped) {
  Make();
  const Mapped memory(2 * kPage);
  const Lease gone = Get(memory.data(), kPage, kWrite);
  const Lease stays = Get(memory.data() + kPage, kPage, kWrite);
  std::thread([&] { late_->Happen(RangeAt(memory.data(), kPage)); }).join();
  EXPECT_EQ(gone.state(), LeaseState::kStale);
  EXPECT_EQ(stays.state(), LeaseState::kValid);
}

TEST_F(Monitoring, WhatAnotherThreadHasUnmappedIsHitByNobody) {
  Make();
  const Mapped memory(kPage);
  const std::uint32_t lkey = Get(memory.data(), kPage, kWrite).lkey();
  std::thread([&] { late_->Happen(RangeAt(memory.data(), kPage)); }).join();
  EXPECT_NE(Get(memory.data(), kPage, kWrite).lkey(), lkey);
}

TEST_F(Monitoring, AMissLooksOnceWhereNothingChanges) {
  Make();
  const Mapped memory(2 * kPage);
  Get(memory.data(), kPage, kWrite);
  EXPECT_EQ(late_->looks(), 1);
  late_->Tell(RangeAt(memory.data(), kPage));
  Get(memory.data() + kPage, kPage, kWrite);
  EXPECT_EQ(late_->looks(), 2) << "of a change before the look";
}

// What is told between the look and the publication finds no region to collide with.
TEST_F(Monitoring, AChangeToldRightAfterTheLookMakesAMissLookAgain) {
  Make();
  const Mapped memory(kPage);
  late_->DuringNextLook([&] {
    late_->Find(Coverage::kNone, false);  // Another mapping, which nobody can watch.
    late_->Tell(RangeAt(memory.data(), kPage));
  });
  const Lease lease = Get(memory.data(), kPage, kWrite);
  EXPECT_FALSE(lease.cached()) << "by what was found before the change";
  EXPECT_EQ(cache_->stats().retries, 1u);
  EXPECT_EQ(cache_->stats().registrations, 1u);
}

TEST_F(Monitoring, WhatIsUnwatchedForGoodIsKeptOnTrust) {
  for (const Coverage coverage : {Coverage::kNone, Coverage::kMappingChanges}) {
    Make({.unwatched = Unwatched::kTrust});
    late_->Find(coverage, false);
    const Mapped memory(kPage);
    const Lease lease = Get(memory.data(), kPage, kWrite);
    EXPECT_TRUE(lease.cached());
    EXPECT_EQ(Get(memory.data(), kPage, kWrite).lkey(), lease.lkey());
  }
}

// Trust is the application's word for what changes later, not for what changed a moment ago.
TEST_F(Monitoring, WhatIsUnwatchedForAWhileIsNotKeptEvenOnTrust) {
  for (const Coverage coverage : {Coverage::kNone, Coverage::kMappingChanges}) {
    Make({.unwatched = Unwatched::kTrust});
    const Mapped memory(kPage);
    late_->Find(coverage, true);
    Lease lease = Get(memory.data(), kPage, kWrite);
    const std::uint32_t lkey = lease.lkey();
    EXPECT_FALSE(lease.cached());
    EXPECT_NE(Get(memory.data(), kPage, kWrite).lkey(), lkey);
    lease = Lease();
    EXPECT_EQ(cache_->stats().idle_bytes, 0u);
    EXPECT_TRUE(WaitFor("not kept", [&] { return registrar_->registered_count() == 0; }));
    late_->Find(coverage, false);
    EXPECT_TRUE(Get(memory.data(), kPage, kWrite).cached()) << "the while is over";
  }
}

}  // namespace
}  // namespace linchpin::testing
