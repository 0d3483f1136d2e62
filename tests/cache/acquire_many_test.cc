// AcquireMany: many ranges, one check, all or nothing.
#include <thread>
#include <vector>

#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;

class AcquiringMany : public CacheFixture {
 protected:
  std::vector<Lease> GetMany(const std::vector<Range>& ranges, Access access) {
    auto leases = cache_->AcquireMany(ranges, access);
    EXPECT_TRUE(leases.ok()) << leases.status();
    cache_->CheckInvariantsForTest();
    return leases.ok() ? *std::move(leases) : std::vector<Lease>();
  }

  // Every second page from `memory` on, so that no union is made.
  static std::vector<Range> Scattered(const Mapped& memory, std::size_t count) {
    std::vector<Range> ranges;
    for (std::size_t i = 0; i < count; ++i) {
      ranges.push_back(RangeAt(memory.data() + 2 * i * kPage, kPage));
    }
    return ranges;
  }
};

TEST_F(AcquiringMany, NoRangesAreNoLeases) {
  Make();
  EXPECT_TRUE(GetMany({}, kWrite).empty());
  EXPECT_EQ(cache_->stats().misses + cache_->stats().hits + cache_->stats().failures, 0u);
}

TEST_F(AcquiringMany, GivesALeaseForEachRangeInTheirOrder) {
  Make();
  const Mapped memory(8 * kPage);
  const std::vector<Range> ranges = Scattered(memory, 4);
  Get(memory.data() + 4 * kPage, kPage, kWrite);
  const std::vector<Lease> leases = GetMany(ranges, kWrite);
  ASSERT_EQ(leases.size(), ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_EQ(leases[i].range(), ranges[i]);
    EXPECT_TRUE(leases[i].registered().Contains(ranges[i]));
    EXPECT_TRUE(registrar_->IsAlive(leases[i].lkey()));
  }
  const CacheStats stats = cache_->stats();
  EXPECT_EQ(stats.hits, 1u);
  EXPECT_EQ(stats.misses, 4u);  // The one before, and three.
  EXPECT_EQ(stats.leases, 4u);
}

TEST_F(AcquiringMany, DuplicatesAndOverlapsShareOneRegistration) {
  Make();
  const Mapped memory(4 * kPage);
  const Range all = RangeAt(memory.data(), 4 * kPage);
  const Range part = RangeAt(memory.data() + 100, 8);
  const std::vector<Lease> leases = GetMany({all, part, all, part}, kWrite);
  ASSERT_EQ(leases.size(), 4u);
  EXPECT_EQ(registrar_->registered_count(), 1u);
  for (const Lease& lease : leases) EXPECT_EQ(lease.lkey(), leases[0].lkey());
  EXPECT_EQ(cache_->stats().leases, 4u);
}

TEST_F(AcquiringMany, RemoteRightsAreExactForEachRange) {
  Make();
  const Mapped memory(kPage);
  const Range first = RangeAt(memory.data() + 8, 16);
  const Range second = RangeAt(memory.data() + 12, 16);
  const std::vector<Lease> leases = GetMany({first, second, first}, kRemote);
  ASSERT_EQ(leases.size(), 3u);
  EXPECT_EQ(leases[0].registered(), first);
  EXPECT_EQ(leases[1].registered(), second);
  EXPECT_EQ(leases[2].rkey(), leases[0].rkey());
}

TEST_F(AcquiringMany, ABadRangeIsFoundBeforeAnythingIsAcquired) {
  Make();
  const Mapped memory(kPage);
  const Range good = RangeAt(memory.data(), 8);
  for (const Range& bad : {Range{}, Range{good.start, good.start}, Range{good.end, good.start}}) {
    const auto refused = cache_->AcquireMany(std::vector<Range>{good, bad}, kWrite);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << bad.ToString();
  }
  const auto refused = cache_->AcquireMany(std::vector<Range>{good}, Access::kRemoteWrite);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(registrar_->calls(), 0);
  EXPECT_EQ(cache_->stats().failures, 4u);
}

TEST_F(AcquiringMany, AnErrorGivesEveryLeaseBack) {
  Make();
  const Mapped memory(12 * kPage);
  const std::vector<Range> ranges = Scattered(memory, 6);
  Lease before = Get(memory.data(), kPage, kWrite);
  registrar_->OnRegister([&](Range range, Access) {
    return range.Contains(ranges[4]) ? absl::PermissionDeniedError("told to") : absl::OkStatus();
  });
  const auto refused = cache_->AcquireMany(ranges, kWrite);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("told to"));
  cache_->CheckInvariantsForTest();
  EXPECT_EQ(cache_->stats().leases, 1u) << "the one from before";
  EXPECT_EQ(cache_->stats().failures, 1u);
  EXPECT_EQ(before.state(), LeaseState::kValid);
  registrar_->OnRegister(nullptr);
  EXPECT_EQ(GetMany(ranges, kWrite).size(), 6u);
}

TEST_F(AcquiringMany, TakesMoreThanOnePassOfTheLockHolds) {
  Make();
  constexpr std::size_t kCount = 1000;
  const Mapped memory(2 * kCount * kPage);
  const std::vector<Range> ranges = Scattered(memory, kCount);
  EXPECT_EQ(GetMany(ranges, kWrite).size(), kCount);
  EXPECT_EQ(cache_->stats().misses, kCount);
  const std::vector<Lease> again = GetMany(ranges, kWrite);
  ASSERT_EQ(again.size(), kCount);
  for (std::size_t i = 0; i < kCount; ++i) EXPECT_EQ(again[i].range(), ranges[i]);
  EXPECT_EQ(cache_->stats().hits, kCount);
  EXPECT_EQ(cache_->stats().misses, kCount);
}

// Counts how often it is asked to settle.
class CountingMonitor final : public MemoryMonitor {
 public:
  void AddListener(Listener* listener) override { inner_.AddListener(listener); }
  void RemoveListener(Listener* listener) override { inner_.RemoveListener(listener); }
  WatchedExtent Watch(Range range, bool look_again) override {
    return inner_.Watch(range, look_again);
  }
  void Forget(Range range) override { inner_.Forget(range); }
  void Settle() override { ++settled; }
  absl::Status status() const override { return inner_.status(); }

  int settled = 0;

 private:
  ManualMonitor inner_;
};

TEST_F(AcquiringMany, ChecksFreshnessOnce) {
  auto monitor = std::make_shared<CountingMonitor>();
  CacheOptions options;
  options.monitor = monitor;
  Make(options);
  const Mapped memory(8 * kPage);
  const std::vector<Range> ranges = Scattered(memory, 4);
  GetMany(ranges, kWrite);
  EXPECT_EQ(monitor->settled, 1);
  GetMany(ranges, kWrite);
  EXPECT_EQ(monitor->settled, 2);
}

TEST_F(AcquiringMany, InModeOffEachRangeIsRegisteredForItsLease) {
  CacheOptions options;
  options.mode = Mode::kOff;
  Make(options);
  const Mapped memory(kPage);
  const Range range = RangeAt(memory.data(), 8);
  const std::vector<Lease> leases = GetMany({range, range}, kWrite);
  ASSERT_EQ(leases.size(), 2u);
  EXPECT_NE(leases[0].lkey(), leases[1].lkey());
}

TEST_F(AcquiringMany, TwoThreadsThatWantTheSameBothGetIt) {
  Make();
  const Mapped memory(64 * kPage);
  std::vector<Range> forwards = Scattered(memory, 32);
  const std::vector<Range> backwards(forwards.rbegin(), forwards.rend());
  const auto work = [&](const std::vector<Range>& ranges) {
    for (int round = 0; round < 50; ++round) {
      const auto leases = cache_->AcquireMany(ranges, kWrite);
      EXPECT_TRUE(leases.ok() || absl::IsAborted(leases.status())) << leases.status();
      cache_->Invalidate(memory.data(), 8 * kPage);
    }
  };
  std::thread other(work, backwards);
  work(forwards);
  other.join();
  EXPECT_EQ(cache_->stats().leases, 0u);
}

TEST_F(AcquiringMany, AClosedCacheRefuses) {
  Make();
  const Mapped memory(kPage);
  ASSERT_TRUE(cache_->Close(absl::Seconds(30)).ok());
  const auto refused =
      cache_->AcquireMany(std::vector<Range>{RangeAt(memory.data(), kPage)}, kWrite);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace linchpin::testing
