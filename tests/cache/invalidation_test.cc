// What a change of the mapping does to regions, leases and registrations under way.
#include <atomic>

#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

class Invalidation : public CacheFixture {};

TEST_F(Invalidation, AnIdleRegionIsDeregisteredWithNoFurtherCall) {
  Make();
  const Mapped memory(kPage);
  const std::uint32_t lkey = Get(memory.data(), 8, kWrite).lkey();
  monitor_->Changed(RangeAt(memory.data(), 1));
  EXPECT_TRUE(WaitFor("deregistered", [&] { return !registrar_->IsAlive(lkey); }));
  EXPECT_EQ(cache_->stats().invalidations, 1u);
  EXPECT_EQ(cache_->stats().idle_bytes, 0u);
}

TEST_F(Invalidation, AHeldRegionTurnsStaleAndDiesWithItsLastLease) {
  Make();
  const Mapped memory(kPage);
  Lease held = Get(memory.data(), 8, kWrite);
  const std::uint32_t lkey = held.lkey();
  monitor_->Changed(RangeAt(memory.data(), 1));
  EXPECT_EQ(held.state(), LeaseState::kStale);
  EXPECT_TRUE(registrar_->IsAlive(lkey));
  EXPECT_EQ(cache_->stats().stale_regions, 1u);
  const Lease fresh = Get(memory.data(), 8, kWrite);
  EXPECT_NE(fresh.lkey(), lkey);
  EXPECT_EQ(fresh.state(), LeaseState::kValid);
  held = Lease();
  EXPECT_TRUE(WaitFor("deregistered", [&] { return !registrar_->IsAlive(lkey); }));
  EXPECT_EQ(cache_->stats().stale_regions, 0u);
}

TEST_F(Invalidation, ALeaseWhoseOwnBytesDidNotChangeIsValid) {
  Make();
  const Mapped memory(4 * kPage);
  const Lease all = Get(memory.data(), 4 * kPage, kWrite);
  const Lease first_page = Get(memory.data(), 8, kWrite);
  monitor_->Changed(RangeAt(memory.data() + 3 * kPage, kPage));
  EXPECT_EQ(all.state(), LeaseState::kStale);
  EXPECT_EQ(first_page.state(), LeaseState::kValid);
  EXPECT_NE(Get(memory.data(), 8, kWrite).lkey(), all.lkey()) << "but serves no one else";
}

TEST_F(Invalidation, ExactSupersededAndPrivateRegionsHearOfItToo) {
  Make();
  const Mapped memory(4 * kPage);
  const Lease remote = Get(memory.data(), 100, kRemote);
  const Lease superseded = Get(memory.data(), kPage, kRead);
  const Lease wider = Get(memory.data(), 4 * kPage, kWrite);
  ASSERT_NE(superseded.lkey(), wider.lkey());
  monitor_->Changed(RangeAt(memory.data(), kPage));
  for (const Lease* lease : {&remote, &superseded, &wider}) {
    EXPECT_EQ(lease->state(), LeaseState::kStale);
  }
  EXPECT_NE(Get(memory.data(), 100, kRemote).rkey(), remote.rkey());
}

TEST_F(Invalidation, OffTellsOfItToo) {
  Make({.mode = Mode::kOff});
  const Mapped memory(kPage);
  const Lease lease = Get(memory.data(), 8, kWrite);
  monitor_->Changed(RangeAt(memory.data(), kPage));
  EXPECT_EQ(lease.state(), LeaseState::kStale);
}

TEST_F(Invalidation, NeighboursAreLeftAlone) {
  Make();
  const Mapped memory(3 * kPage);
  const std::uint32_t left = Get(memory.data(), kPage, kWrite).lkey();
  const std::uint32_t right = Get(memory.data() + 2 * kPage, kPage, kWrite).lkey();
  monitor_->Changed(RangeAt(memory.data() + kPage, kPage));
  EXPECT_EQ(Get(memory.data(), kPage, kWrite).lkey(), left);
  EXPECT_EQ(Get(memory.data() + 2 * kPage, kPage, kWrite).lkey(), right);
}

TEST_F(Invalidation, AChangeDuringTheRegistrationIsNeverLost) {
  Make();
  const Mapped memory(kPage);
  int changes = 2;
  registrar_->OnRegister([&](Range range, Access) {
    if (changes-- > 0) monitor_->Changed(range);
    return absl::OkStatus();
  });
  const Lease lease = Get(memory.data(), 8, kWrite);
  EXPECT_EQ(registrar_->calls(), 3) << "two collided";
  EXPECT_EQ(cache_->stats().retries, 2u);
  EXPECT_EQ(lease.state(), LeaseState::kValid);
  EXPECT_TRUE(WaitFor("collided ones gone", [&] { return registrar_->registered_count() == 1; }));
}

TEST_F(Invalidation, ChangingDuringEachRegistrationIsAborted) {
  Make();
  const Mapped memory(kPage);
  registrar_->OnRegister([&](Range range, Access) {
    monitor_->Changed(range);
    return absl::OkStatus();
  });
  EXPECT_EQ(cache_->Acquire(memory.data(), 8, kWrite).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(registrar_->calls(), 4);
  EXPECT_TRUE(WaitFor("nothing left", [&] { return registrar_->registered_count() == 0; }));
}

TEST_F(Invalidation, TwoCachesOnOneMonitorBothHearOfIt) {
  Make();
  const auto other_registrar = std::make_shared<FakeRegistrar>();
  const auto other = RegistrationCache::Create(other_registrar, {.monitor = monitor_});
  ASSERT_TRUE(other.ok());
  const Mapped memory(kPage);
  Get(memory.data(), 8, kWrite);
  ASSERT_TRUE((*other)->Acquire(memory.data(), 8, kWrite).ok());
  monitor_->Changed(RangeAt(memory.data(), kPage));
  EXPECT_TRUE(WaitFor("both deregistered", [&] {
    return registrar_->registered_count() == 0 && other_registrar->registered_count() == 0;
  }));
}

TEST_F(Invalidation, InvalidateTakesAnyArguments) {
  Make();
  const Mapped memory(kPage);
  Get(memory.data(), 8, kWrite);
  cache_->Invalidate(nullptr, 0);
  cache_->Invalidate(memory.data(), 0);
  EXPECT_EQ(cache_->stats().invalidations, 0u);
  cache_->Invalidate(memory.data() - 1, SIZE_MAX);
  EXPECT_EQ(cache_->stats().invalidations, 1u);
}

TEST_F(Invalidation, FenceReturnsWhenNothingOfTheRangeIsRegistered) {
  Make();
  const Mapped memory(2 * kPage);
  Get(memory.data(), kPage, kWrite);
  EXPECT_TRUE(cache_->Fence(memory.data(), kPage, absl::ZeroDuration()).ok());
  EXPECT_EQ(registrar_->registered_count(), 0u);
  Lease held = Get(memory.data(), kPage, kWrite);
  const absl::Status refused = cache_->Fence(memory.data(), kPage, absl::Milliseconds(20));
  EXPECT_EQ(refused.code(), absl::StatusCode::kDeadlineExceeded);
  const std::uint32_t lkey = held.lkey();
  held = Lease();
  EXPECT_TRUE(cache_->Fence(memory.data(), kPage, absl::Seconds(30)).ok());
  EXPECT_FALSE(registrar_->IsAlive(lkey));
}

}  // namespace
}  // namespace linchpin::testing
