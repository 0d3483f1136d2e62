// Leases that belong to a PinFile: what is shared and what is not, and what is left when the life
// of the file ends.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "lib/base/fd.h"
#include "linchpin/pin_file.h"
#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

class Owned : public CacheFixture {
 protected:
  bool Revoked(const Lease& lease) {
    return WaitFor("revoked", [&] { return lease.revoked(); });
  }
  bool Registered(std::size_t count) {
    const bool so =
        WaitFor("deregistered", [&] { return registrar_->registered_count() == count; });
    cache_->CheckInvariantsForTest();
    return so;
  }

  const Mapped memory_{16 * kPage};
};

TEST_F(Owned, LocalLeasesShareOneRegistrationWhoeverOwnsThem) {
  Make();
  const Owner first;
  const Owner second;
  const Lease a = GetFor(first, memory_.data(), kPage, kWrite);
  const Lease b = GetFor(second, memory_.data(), kPage, kWrite);
  const Lease c = Get(memory_.data(), kPage, kWrite);
  EXPECT_EQ(registrar_->registered_count(), 1u);
  EXPECT_EQ(a.lkey(), b.lkey());
  EXPECT_EQ(a.lkey(), c.lkey());
  EXPECT_EQ(a.registered(), c.registered());
  EXPECT_EQ(a.range(), RangeAt(memory_.data(), kPage));
  EXPECT_TRUE(a.cached());
  EXPECT_EQ(cache_->stats().leases, 3u);
  EXPECT_EQ(cache_->stats().regions, 1u);
}

TEST_F(Owned, RemoteRightsHaveARegistrationOfEachOwner) {
  Make();
  const Owner first;
  const Owner second;
  const Lease a = GetFor(first, memory_.data(), 100, kRemote);
  const Lease b = GetFor(first, memory_.data(), 100, kRemote);
  const Lease c = GetFor(second, memory_.data(), 100, kRemote);
  const Lease d = Get(memory_.data(), 100, kRemote);
  EXPECT_EQ(registrar_->registered_count(), 4u);
  EXPECT_EQ(first.file->held(), 2u);
  EXPECT_FALSE(a.cached());
  EXPECT_EQ(c.registered(), RangeAt(memory_.data(), 100));
}

TEST_F(Owned, LeasesTellWhatTheirRegistrationAllows) {
  Make();
  Owner owner;
  const Lease plain = Get(memory_.data(), kPage, kRead);
  EXPECT_EQ(plain.access(), kRead);
  const Lease owned = GetFor(owner, memory_.data(), kPage, kWrite);
  const Lease after = Get(memory_.data(), kPage, kRead);
  EXPECT_EQ(plain.access(), kRead) << "never upgraded in place";
  EXPECT_EQ(owned.access(), kWrite);
  EXPECT_EQ(after.access(), kWrite) << "more than was asked for";
  EXPECT_EQ(GetFor(owner, memory_.data(), 100, kRemote).access(), kRemote);
  owner.Die();
  ASSERT_TRUE(Revoked(owned));
  EXPECT_EQ(owned.access(), kWrite);
}

TEST_F(Owned, WhatOnlyTheOwnerClaimsIsDeregisteredAlthoughHeld) {
  Make();
  Owner owner;
  const Lease local = GetFor(owner, memory_.data(), kPage, kWrite);
  const Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
  EXPECT_EQ(local.state(), LeaseState::kValid);
  owner.Die();
  EXPECT_TRUE(Revoked(local));
  EXPECT_TRUE(Revoked(remote));
  EXPECT_TRUE(Registered(0));
  EXPECT_EQ(owner.file->held(), 0u);
  EXPECT_EQ(local.state(), LeaseState::kRevoked);
  EXPECT_EQ(remote.state(), LeaseState::kRevoked);
  EXPECT_FALSE(local.cached());
  EXPECT_EQ(cache_->stats().revocations, 2u);
  EXPECT_EQ(cache_->stats().leases, 2u) << "they are still to be given back";
  EXPECT_EQ(cache_->stats().bytes, 0u);
  EXPECT_TRUE(WaitFor("all deregistered, as the file sees it",
                      [&] { return owner.file->Revoke(absl::ZeroDuration()).ok(); }));
}

TEST_F(Owned, RevokingOneOwnerLeavesTheOthersWhatTheyHave) {
  Make();
  Owner first;
  Owner second;
  const Lease a = GetFor(first, memory_.data(), kPage, kWrite);
  const Lease b = GetFor(second, memory_.data(), kPage, kWrite);
  const Lease far = GetFor(first, memory_.data(), 100, kRemote);
  const Lease near = GetFor(second, memory_.data(), 100, kRemote);
  first.Die();
  EXPECT_TRUE(Revoked(a));
  EXPECT_TRUE(Registered(2));
  EXPECT_TRUE(registrar_->IsAlive(b.lkey()));
  EXPECT_TRUE(registrar_->IsAlive(near.lkey()));
  EXPECT_FALSE(registrar_->IsAlive(far.lkey()));
  EXPECT_EQ(b.state(), LeaseState::kValid);
  EXPECT_EQ(near.state(), LeaseState::kValid);
  EXPECT_TRUE(first.file->Revoke(absl::ZeroDuration()).ok()) << "nothing is pinned for it";
  second.Die();
  EXPECT_TRUE(Revoked(b));
  EXPECT_TRUE(Registered(0));
}

TEST_F(Owned, APlainLeaseKeepsWhatAnOwnerWasRevokedOf) {
  Make();
  Owner owner;
  const Lease owned = GetFor(owner, memory_.data(), kPage, kWrite);
  Lease plain = Get(memory_.data(), kPage, kWrite);
  owner.Die();
  EXPECT_TRUE(Revoked(owned));
  EXPECT_TRUE(registrar_->IsAlive(plain.lkey()));
  EXPECT_EQ(plain.state(), LeaseState::kValid);
  plain = Lease();
  EXPECT_EQ(cache_->stats().idle_bytes, kPage) << "it is kept like any other";
}

TEST_F(Owned, WhatTheOwnerLeftIdleGoesWithItsLife) {
  Make();
  Owner owner;
  Owner other;
  { const Lease lease = GetFor(owner, memory_.data(), kPage, kWrite); }
  { const Lease lease = GetFor(other, memory_.data() + 8 * kPage, kPage, kWrite); }
  EXPECT_EQ(registrar_->registered_count(), 2u) << "kept for the next";
  EXPECT_EQ(cache_->stats().leases, 0u);
  owner.Die();
  EXPECT_TRUE(Registered(1));
  EXPECT_TRUE(owner.file->Revoke(absl::ZeroDuration()).ok());
}

TEST_F(Owned, ADeadOwnerGetsNothing) {
  Make();
  Owner owner;
  owner.Die();
  EXPECT_TRUE(WaitFor("its end", [&] { return !owner.file->alive(); }));
  for (const Access access : {kWrite, kRemote}) {
    const auto lease = cache_->Acquire(memory_.data(), kPage, access, owner.file);
    EXPECT_TRUE(absl::IsFailedPrecondition(lease.status())) << lease.status();
  }
  EXPECT_EQ(registrar_->calls(), 0);
  EXPECT_EQ(cache_->stats().failures, 2u);
}

TEST_F(Owned, AnOwnerThatDiesDuringTheRegistrationGetsNothing) {
  Make();
  for (const Access access : {kWrite, kRemote}) {
    Owner owner;
    registrar_->OnRegister([&](Range, Access) {
      owner.Die();
      EXPECT_TRUE(WaitFor("its end", [&] { return !owner.file->alive(); }));
      return absl::OkStatus();
    });
    const auto lease = cache_->Acquire(memory_.data(), kPage, access, owner.file);
    EXPECT_TRUE(absl::IsFailedPrecondition(lease.status())) << lease.status();
    EXPECT_TRUE(Registered(0));
    EXPECT_TRUE(owner.file->Revoke(absl::ZeroDuration()).ok());
  }
}

TEST_F(Owned, CloseWaitsForRevokedLeasesToo) {
  Make();
  Owner owner;
  Lease local = GetFor(owner, memory_.data(), kPage, kWrite);
  Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
  owner.Die();
  EXPECT_TRUE(Revoked(local) && Registered(0));
  EXPECT_TRUE(absl::IsFailedPrecondition(cache_->Close(absl::ZeroDuration())));
  local = Lease();
  EXPECT_TRUE(absl::IsFailedPrecondition(cache_->Close(absl::ZeroDuration())));
  remote = Lease();
  EXPECT_TRUE(cache_->Close(absl::Seconds(30)).ok());
}

TEST_F(Owned, LeasesOutliveTheirCacheAndAreRevokedAfterIt) {
  Make();
  Owner owner;
  Lease local = GetFor(owner, memory_.data(), kPage, kWrite);
  const Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
  cache_.reset();
  EXPECT_EQ(local.state(), LeaseState::kValid);
  EXPECT_EQ(registrar_->registered_count(), 2u);
  owner.Die();
  EXPECT_TRUE(Revoked(local));
  EXPECT_TRUE(WaitFor("deregistered", [&] { return registrar_->registered_count() == 0; }));
}

TEST_F(Owned, AChangeOfTheMappingShowsInAnOwnedLease) {
  Make();
  const Owner owner;
  const Lease local = GetFor(owner, memory_.data(), kPage, kWrite);
  const Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
  monitor_->Changed(RangeAt(memory_.data(), kPage));
  EXPECT_EQ(local.state(), LeaseState::kStale);
  EXPECT_EQ(remote.state(), LeaseState::kStale);
  EXPECT_FALSE(local.revoked());
}

TEST_F(Owned, StaleLeasesAreRevokedToo) {
  Make();
  Owner owner;
  const Lease local = GetFor(owner, memory_.data(), kPage, kWrite);
  const Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
  monitor_->Changed(RangeAt(memory_.data(), kPage));
  owner.Die();
  EXPECT_TRUE(Revoked(local) && Revoked(remote));
  EXPECT_TRUE(Registered(0));
  EXPECT_EQ(cache_->stats().stale_regions, 0u);
}

TEST_F(Owned, ADeregistrationThatFailsIsCountedAsLeaked) {
  Make();
  Owner owner;
  Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
  registrar_->FailDeregistrations(1);
  owner.Die();
  EXPECT_TRUE(WaitFor("leaked", [&] { return cache_->stats().leaked == 1; }));
  EXPECT_EQ(remote.state(), LeaseState::kRevoked);
  EXPECT_TRUE(owner.file->Revoke(absl::ZeroDuration()).ok()) << "there is nothing to wait for";
  remote = Lease();
  cache_->CheckInvariantsForTest();
  EXPECT_TRUE(cache_->Close(absl::Seconds(30)).ok());
  for (Registration& left : registrar_->registered())
    EXPECT_TRUE(registrar_->Deregister(left).ok());
}

TEST_F(Owned, InModeOffTheMeaningIsTheSame) {
  Make({.mode = Mode::kOff});
  Owner first;
  Owner second;
  const Lease a = GetFor(first, memory_.data(), kPage, kWrite);
  const Lease b = GetFor(second, memory_.data(), kPage, kWrite);
  EXPECT_EQ(registrar_->registered_count(), 2u);
  first.Die();
  EXPECT_TRUE(Revoked(a));
  EXPECT_TRUE(Registered(1));
  EXPECT_TRUE(registrar_->IsAlive(b.lkey()));
  EXPECT_EQ(b.state(), LeaseState::kValid);
}

TEST_F(Owned, EveryDeviceHasItsKeysAlsoWhenRevoked) {
  registrar_->set_devices(3);
  Make();
  Owner owner;
  const Lease plain = Get(memory_.data(), kPage, kWrite);
  const Lease local = GetFor(owner, memory_.data(), kPage, kWrite);
  const Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
  EXPECT_EQ(local.lkey(2), plain.lkey(2));
  const std::uint32_t rkey = remote.rkey(1);
  owner.Die();
  EXPECT_TRUE(Revoked(local) && Registered(1));
  EXPECT_EQ(local.lkey(2), plain.lkey(2));
  EXPECT_EQ(remote.rkey(1), rkey);
}

TEST_F(Owned, TheGraceTimeLetsHoldersLetGoByThemselves) {
  Make();
  Owner owner({.grace = absl::Hours(1)});
  Lease local = GetFor(owner, memory_.data(), kPage, kWrite);
  Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
  { const Lease idle = GetFor(owner, memory_.data() + 8 * kPage, kPage, kWrite); }
  EXPECT_EQ(registrar_->registered_count(), 3u);
  owner.Die();
  EXPECT_TRUE(Registered(2)) << "what nobody holds goes at once";
  EXPECT_FALSE(local.revoked());
  EXPECT_FALSE(cache_->Acquire(memory_.data(), kPage, kWrite, owner.file).ok());
  local = Lease();
  remote = Lease();
  EXPECT_TRUE(Registered(0));
  EXPECT_TRUE(WaitFor("its end", [&] { return owner.file->revoked(); }));
  EXPECT_EQ(cache_->stats().revocations, 0u);
}

TEST_F(Owned, WhoIsHeldPastTheGraceTimeIsRevoked) {
  Make();
  Owner owner({.grace = absl::Milliseconds(20)});
  const Lease local = GetFor(owner, memory_.data(), kPage, kWrite);
  owner.Die();
  EXPECT_TRUE(Revoked(local));
  EXPECT_TRUE(Registered(0));
}

TEST_F(Owned, SyncRefusesWhatIsHeldAndTakesWhatIsNot) {
  Make();
  const Owner owner;
  Lease lease = GetFor(owner, memory_.data(), 4 * kPage, kWrite);
  lease.MarkDirty(RangeAt(memory_.data() + kPage, kPage));
  lease.MarkDirty(RangeAt(memory_.data() + 3 * kPage, 64 * kPage));  // As far as it is the lease's.
  const absl::Status held = owner.file->Sync();
  EXPECT_TRUE(absl::IsFailedPrecondition(held)) << held;
  EXPECT_NE(held.message().find(RangeAt(memory_.data() + kPage, kPage).ToString()),
            absl::string_view::npos)
      << held;
  lease = Lease();
  EXPECT_TRUE(owner.file->Sync().ok());
  EXPECT_EQ(registrar_->registered_count(), 0u) << "dirty pages are marked when they are unpinned";
}

TEST_F(Owned, ASealedFileIsKeptForItsOwnerAndGoesWithIt) {
  Make({.monitor = MemoryMonitor::Shared()});
  if (!cache_->stats().regions && !MemoryMonitor::Shared()->status().ok()) {
    GTEST_SKIP() << MemoryMonitor::Shared()->status();
  }
  const Fd memfd(memfd_create("owned", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(memfd.get(), 4 * kPage), 0);
  void* const mapped = mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  { EXPECT_FALSE(Get(mapped, kPage, kWrite).cached()) << "nobody hears of a truncation"; }
  auto guard = BackingGuard::Create(memfd.get(), BackingGuard::Kind::kSeal);
  ASSERT_TRUE(guard.ok()) << guard.status();
  Owner owner({.guard = *guard});
  { EXPECT_TRUE(GetFor(owner, mapped, kPage, kWrite).cached()); }
  Lease plain = Get(mapped, kPage, kWrite);
  EXPECT_TRUE(plain.cached());
  EXPECT_TRUE(Registered(1));
  EXPECT_EQ(ftruncate(memfd.get(), 0), -1);
  owner.Die();
  EXPECT_TRUE(WaitFor("its end", [&] { return owner.file->revoked(); }));
  EXPECT_TRUE(registrar_->IsAlive(plain.lkey())) << "it is held";
  plain = Lease();
  EXPECT_TRUE(Registered(0)) << "the guard is gone, so it is not kept";
  munmap(mapped, 4 * kPage);
}

}  // namespace
}  // namespace linchpin::testing
