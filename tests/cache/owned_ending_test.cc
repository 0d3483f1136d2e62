// What ends when the life of a PinFile ends, and when: never before the registration is gone, not
// because of strangers, and with nothing left behind.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

class OwnedEnding : public CacheFixture {
 protected:
  bool NothingRegistered() {
    return WaitFor("deregistered", [&] { return registrar_->registered_count() == 0; });
  }

  // Revoke is to wait for a device that takes its time.
  void ExpectRevokeWaits(const Owner& owner) {
    registrar_->OnDeregister(
        [](Range) { std::this_thread::sleep_for(std::chrono::milliseconds(100)); });
    EXPECT_TRUE(owner.file->Revoke(absl::Seconds(30)).ok());
    EXPECT_EQ(registrar_->registered_count(), 0u) << "the guard was let go before";
  }

  // What a failed deregistration has left.
  void DeregisterLeft() {
    for (Registration& left : registrar_->registered()) {
      EXPECT_TRUE(registrar_->Deregister(left).ok());
    }
  }

  const Mapped memory_{64 * kPage};
};

TEST_F(OwnedEnding, RevokeWaitsForWhatTheFilesGuardKept) {
  if (!MemoryMonitor::Shared()->status().ok()) GTEST_SKIP() << MemoryMonitor::Shared()->status();
  Make({.monitor = MemoryMonitor::Shared()});
  const Fd memfd(memfd_create("owned", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(memfd.get(), 4 * kPage), 0);
  void* const mapped = mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  auto guard = BackingGuard::Create(memfd.get(), BackingGuard::Kind::kSeal);
  ASSERT_TRUE(guard.ok()) << guard.status();
  const Owner owner({.guard = *guard});
  {
    const Lease held = GetFor(owner, mapped, kPage, kWrite);
    EXPECT_TRUE(held.cached());
    ExpectRevokeWaits(owner);
  }
  munmap(mapped, 4 * kPage);
}

TEST_F(OwnedEnding, RevokeWaitsForWhatIsStale) {
  Make();
  for (const bool release : {false, true}) {
    registrar_->OnDeregister([](Range) {});
    const Owner owner;
    Lease lease = GetFor(owner, memory_.data(), kPage, kWrite);
    monitor_->Changed(RangeAt(memory_.data(), kPage));
    EXPECT_TRUE(WaitFor("stale", [&] { return cache_->stats().stale_regions == 1; }));
    if (release) lease = Lease();
    ExpectRevokeWaits(owner);
  }
}

TEST_F(OwnedEnding, RevokeWaitsForARegistrationThatCameTooLate) {
  Make();
  for (const Access access : {kWrite, kRemote}) {
    Owner owner;
    registrar_->OnRegister([&](Range, Access) {
      owner.Die();
      EXPECT_TRUE(WaitFor("its end", [&] { return !owner.file->alive(); }));
      return absl::OkStatus();
    });
    registrar_->OnDeregister([](Range) {});
    EXPECT_FALSE(cache_->Acquire(memory_.data(), kPage, access, owner.file).ok());
    ExpectRevokeWaits(owner);
  }
}

TEST_F(OwnedEnding, RevokeDoesNotWaitForAStrangersLease) {
  Make();
  for (int round = 0; round < 5; ++round) {
    const Owner owner;
    { const Lease lease = GetFor(owner, memory_.data(), kPage, kWrite); }
    const Lease plain = Get(memory_.data(), kPage, kWrite);
    monitor_->Changed(RangeAt(memory_.data(), kPage));  // In limbo for 2 ms.
    EXPECT_TRUE(owner.file->Revoke(absl::Seconds(30)).ok());
    EXPECT_TRUE(registrar_->IsAlive(plain.lkey()));
  }
}

TEST_F(OwnedEnding, WhatAStrangerHeldIsNotTheOwnersInTheGraceTime) {
  Make();
  Owner owner({.grace = absl::Hours(1)});
  { const Lease lease = GetFor(owner, memory_.data(), kPage, kWrite); }
  const Lease plain = Get(memory_.data(), kPage, kWrite);
  owner.Die();
  EXPECT_TRUE(WaitFor("its end", [&] { return owner.file->revoked(); }))
      << "nothing is held for it";
}

TEST_F(OwnedEnding, ALeakedRegionThatIsHeldKeepsItsCache) {
  for (const bool close : {true, false}) {
    Make();
    Owner owner;
    Lease remote = GetFor(owner, memory_.data(), 100, kRemote);
    registrar_->FailDeregistrations(1);
    owner.Die();
    EXPECT_TRUE(WaitFor("leaked", [&] { return cache_->stats().leaked == 1; }));
    if (close) {
      EXPECT_FALSE(cache_->Close(absl::ZeroDuration()).ok()) << "a lease is out";
      remote = Lease();
      EXPECT_TRUE(cache_->Close(absl::Seconds(30)).ok());
    } else {
      cache_.reset();
      EXPECT_EQ(remote.state(), LeaseState::kRevoked);
    }
    remote = Lease();
    DeregisterLeft();
  }
}

TEST_F(OwnedEnding, SyncTakesWhatAnyLeaseOfTheFileMarked) {
  Make();
  const Owner owner;
  { const Lease lease = GetFor(owner, memory_.data(), kPage, kWrite); }
  {
    Lease lease = GetFor(owner, memory_.data(), kPage, kWrite);
    lease.MarkDirty(lease.range());
  }
  EXPECT_TRUE(owner.file->Sync().ok());
  EXPECT_EQ(registrar_->registered_count(), 0u) << "dirty pages are marked when they are unpinned";
}

TEST_F(OwnedEnding, SyncIsRefusedWhileAnyoneHoldsWhatIsDirty) {
  Make();
  const Owner owner;
  for (const bool own : {false, true}) {
    Lease other =
        own ? GetFor(owner, memory_.data(), kPage, kWrite) : Get(memory_.data(), kPage, kWrite);
    {
      Lease lease = GetFor(owner, memory_.data(), kPage, kWrite);
      lease.MarkDirty(lease.range());
    }
    EXPECT_TRUE(absl::IsFailedPrecondition(owner.file->Sync())) << "it is registered still";
    other = Lease();
    EXPECT_TRUE(owner.file->Sync().ok());
    EXPECT_EQ(registrar_->registered_count(), 0u);
  }
}

TEST_F(OwnedEnding, APlainLeaseMarksNothingForAFile) {
  Make();
  const Owner owner;
  { const Lease lease = GetFor(owner, memory_.data(), kPage, kWrite); }
  Lease plain = Get(memory_.data(), kPage, kWrite);
  plain.MarkDirty(plain.range());
  const absl::Status synced = owner.file->Sync();
  EXPECT_TRUE(synced.ok()) << synced;
}

TEST_F(OwnedEnding, OwnedLeasesDoNotUseUpTheRoomOfRegions) {
  Make({.max_regions = 1});
  const Owner owner;
  for (int i = 0; i < 10000; ++i) {
    const auto lease = cache_->Acquire(memory_.data(), kPage, kWrite, owner.file);
    ASSERT_TRUE(lease.ok()) << i << ": " << lease.status();
  }
  Make({.max_regions = 4});
  std::vector<Lease> held;
  for (int i = 0; i < 100; ++i) held.push_back(GetFor(owner, memory_.data(), kPage, kWrite));
  for (std::size_t i = 1; i < 4; ++i) Get(memory_.data() + 4 * i * kPage, kPage, kWrite);
}

TEST_F(OwnedEnding, RemoteLeasesOfAnOwnerAreNotCountedAsUnwatched) {
  Make();
  const Owner owner;
  const Lease lease = GetFor(owner, memory_.data(), 100, kRemote);
  EXPECT_EQ(cache_->stats().unwatched, 0u);
}

// The second look finds another file mapped.
class OtherFile final : public MemoryMonitor {
 public:
  explicit OtherFile(const BackingGuard& guard) : device_(guard.device()), inode_(guard.inode()) {}
  void AddListener(Listener* listener) override { listener_ = listener; }
  void RemoveListener(Listener* /*listener*/) override {}
  WatchedExtent Watch(Range range, bool /*look_again*/) override {
    WatchedExtent extent;
    extent.range = {range.start & ~(kPage - 1), (range.end + kPage - 1) & ~(kPage - 1)};
    extent.uniform = true;
    extent.coverage = Coverage::kMappingChanges;
    extent.device = device_;
    extent.inode = inode_;
    if (looks_++ == 0) {
      listener_->OnChanged(range);
      ++inode_;
    }
    return extent;
  }
  void Forget(Range /*range*/) override {}
  void Settle() override {}
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  Listener* listener_ = nullptr;
  const std::uint64_t device_;
  std::uint64_t inode_;
  int looks_ = 0;
};

TEST_F(OwnedEnding, AGuardKeepsNoOtherFilesMemory) {
  const Fd memfd(memfd_create("owned", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(memfd.get(), 4 * kPage), 0);
  auto guard = BackingGuard::Create(memfd.get(), BackingGuard::Kind::kSeal);
  ASSERT_TRUE(guard.ok()) << guard.status();
  Make({.monitor = std::make_shared<OtherFile>(**guard)});
  const Owner owner({.guard = *guard});
  { EXPECT_FALSE(GetFor(owner, memory_.data(), kPage, kWrite).cached()); }
  EXPECT_TRUE(NothingRegistered());
}

}  // namespace
}  // namespace linchpin::testing
