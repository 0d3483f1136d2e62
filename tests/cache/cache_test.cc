// Which region serves which request.
#include "linchpin/cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;

class Cache : public CacheFixture {};

TEST_F(Cache, ASecondRequestIsServedByTheSameRegion) {
  Make();
  const Mapped memory(16 * kPage);
  const Lease first = Get(memory.data(), 100, kWrite);
  const Lease second = Get(memory.data(), 100, kWrite);
  EXPECT_EQ(first.lkey(), second.lkey());
  EXPECT_EQ(registrar_->calls(), 1);
  EXPECT_EQ(cache_->stats().hits, 1u);
  EXPECT_EQ(cache_->stats().misses, 1u);
  EXPECT_TRUE(first.cached());
  EXPECT_EQ(first.state(), LeaseState::kValid);
}

TEST_F(Cache, ARegionServesWhateverItContains) {
  Make();
  const Mapped memory(16 * kPage);
  const Lease all = Get(memory.data(), 16 * kPage, kWrite);
  for (std::size_t at = 0; at < 16 * kPage; at += 999) {
    const Lease part = Get(memory.data() + at, 1, kRead);
    EXPECT_EQ(part.lkey(), all.lkey());
    EXPECT_EQ(part.range(), RangeAt(memory.data() + at, 1));
  }
  EXPECT_EQ(registrar_->calls(), 1);
}

TEST_F(Cache, AnIdleRegionServesAgain) {
  Make();
  const Mapped memory(kPage);
  const std::uint32_t lkey = Get(memory.data(), 8, kWrite).lkey();
  EXPECT_EQ(cache_->stats().idle_bytes, kPage);
  EXPECT_EQ(Get(memory.data(), 8, kWrite).lkey(), lkey);
  EXPECT_EQ(registrar_->calls(), 1);
}

TEST_F(Cache, LocalRegionsAreWholePagesWithinTheMapping) {
  Make();
  const Mapped memory(3 * kPage);
  const Lease lease = Get(memory.data() + kPage + 5, 10, kWrite);
  EXPECT_EQ(lease.registered(), RangeAt(memory.data() + kPage, kPage));
  EXPECT_EQ(lease.range(), RangeAt(memory.data() + kPage + 5, 10));
}

TEST_F(Cache, MoreRightsRegisterTheUnionAndTheOldRegionDiesWithItsLastLease) {
  Make();
  const Mapped memory(4 * kPage);
  Lease reading = Get(memory.data(), 4 * kPage, kRead);
  const std::uint32_t old_key = reading.lkey();
  const Lease writing = Get(memory.data(), kPage, kWrite);
  EXPECT_NE(writing.lkey(), old_key);
  EXPECT_EQ(writing.registered(), RangeAt(memory.data(), 4 * kPage));
  EXPECT_EQ(reading.lkey(), old_key) << "never in place";
  EXPECT_EQ(reading.state(), LeaseState::kValid) << "its mapping did not change";
  EXPECT_TRUE(registrar_->IsAlive(old_key));
  EXPECT_EQ(Get(memory.data(), 4 * kPage, kRead).lkey(), writing.lkey());
  reading = Lease();
  EXPECT_TRUE(WaitFor("old region gone", [&] { return !registrar_->IsAlive(old_key); }));
  EXPECT_EQ(registrar_->calls(), 2);
}

TEST_F(Cache, AStrictRequestIsNeverServedByARelaxedRegionNorTheOtherWayRound) {
  Make();
  const Mapped memory(kPage);
  const Lease relaxed = Get(memory.data(), kPage, kWrite | Access::kRelaxedOrdering);
  const Lease strict = Get(memory.data(), kPage, kWrite);
  EXPECT_NE(relaxed.lkey(), strict.lkey());
  EXPECT_EQ(Get(memory.data(), kPage, kWrite | Access::kRelaxedOrdering).lkey(), relaxed.lkey());
  EXPECT_EQ(Get(memory.data(), kPage, kWrite).lkey(), strict.lkey());
  for (const Registration& made : registrar_->registered()) {
    EXPECT_EQ(Any(made.access & Access::kRelaxedOrdering), made.keys[0].lkey == relaxed.lkey());
  }
}

TEST_F(Cache, AnOnDemandRegionServesOnDemandRequestsOnly) {
  Make();
  const Mapped memory(kPage);
  const Lease on_demand = Get(memory.data(), kPage, kWrite | Access::kOnDemand);
  EXPECT_NE(Get(memory.data(), kPage, kWrite).lkey(), on_demand.lkey());
  EXPECT_EQ(Get(memory.data(), 9, kWrite | Access::kOnDemand).lkey(), on_demand.lkey());
}

TEST_F(Cache, ARemoteRequestIsServedByItsExactBytesAndRightsOnly) {
  Make();
  const Mapped memory(4 * kPage);
  const Lease local = Get(memory.data(), 4 * kPage, kWrite);
  const Lease remote = Get(memory.data() + 10, 100, kRemote);
  EXPECT_NE(remote.lkey(), local.lkey());
  EXPECT_EQ(remote.registered(), RangeAt(memory.data() + 10, 100));
  EXPECT_NE(Get(memory.data() + 10, 99, kRemote).rkey(), remote.rkey());
  EXPECT_NE(Get(memory.data() + 10, 100, kRemote | Access::kRemoteRead).rkey(), remote.rkey());
  EXPECT_EQ(Get(memory.data() + 10, 100, kRemote).rkey(), remote.rkey());
  EXPECT_EQ(Get(memory.data() + 10, 100, kWrite).lkey(), local.lkey());
  for (const Registration& made : registrar_->registered()) {
    if (Any(made.access & kRemoteRights)) {
      EXPECT_LE(made.range.size(), 100u);
    }
  }
}

TEST_F(Cache, ARemoteKeyDiesWithItsLastLease) {
  Make();
  const Mapped memory(kPage);
  Lease first = Get(memory.data(), 100, kRemote);
  Lease second = Get(memory.data(), 100, kRemote);
  const std::uint32_t lkey = first.lkey();
  EXPECT_EQ(second.lkey(), lkey);
  EXPECT_FALSE(first.cached());
  first = Lease();
  EXPECT_TRUE(registrar_->IsAlive(lkey));
  second = Lease();
  EXPECT_TRUE(WaitFor("remote key dead", [&] { return !registrar_->IsAlive(lkey); }));
}

TEST_F(Cache, ATrustedPeersKeyIsKeptWhenIdle) {
  Make({.idle_remote = IdleRemote::kKeep});
  const Mapped memory(kPage);
  const std::uint32_t rkey = Get(memory.data(), 100, kRemote).rkey();
  EXPECT_EQ(Get(memory.data(), 100, kRemote).rkey(), rkey);
  EXPECT_EQ(registrar_->calls(), 1);
}

TEST_F(Cache, OffRegistersForEachLeaseAndKeepsNothing) {
  Make({.mode = Mode::kOff});
  const Mapped memory(kPage);
  {
    const Lease first = Get(memory.data(), 8, kWrite);
    const Lease second = Get(memory.data(), 8, kWrite);
    EXPECT_NE(first.lkey(), second.lkey());
    EXPECT_FALSE(first.cached());
  }
  EXPECT_TRUE(WaitFor("both gone", [&] { return registrar_->registered_count() == 0; }));
  EXPECT_EQ(cache_->stats().hits, 0u);
}

class SharedFile {
 public:
  SharedFile() : fd_(memfd_create("linchpin-test", MFD_CLOEXEC)) {
    if (ftruncate(fd_, kPage) != 0) std::abort();
    data_ = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  }
  ~SharedFile() {
    munmap(data_, kPage);
    close(fd_);
  }
  SharedFile(const SharedFile&) = delete;
  SharedFile& operator=(const SharedFile&) = delete;
  void* data() const { return data_; }

 private:
  int fd_;
  void* data_;
};

TEST_F(Cache, WhatNobodyWatchesIsNeitherSharedNorKept) {
  Make();
  const SharedFile file;
  Lease first = Get(file.data(), 8, kWrite);
  const Lease second = Get(file.data(), 8, kWrite);
  EXPECT_FALSE(first.cached());
  EXPECT_NE(first.lkey(), second.lkey()) << "the file may have been truncated in between";
  EXPECT_EQ(cache_->stats().unwatched, 2u);
  const std::uint32_t lkey = first.lkey();
  first = Lease();
  EXPECT_TRUE(WaitFor("not kept", [&] { return !registrar_->IsAlive(lkey); }));
}

TEST_F(Cache, TrustedMemoryIsKeptUntilTheApplicationSaysOtherwise) {
  Make({.unwatched = Unwatched::kTrust});
  const SharedFile file;
  const std::uint32_t lkey = Get(file.data(), 8, kWrite).lkey();
  EXPECT_EQ(Get(file.data(), 8, kWrite).lkey(), lkey);
  cache_->Invalidate(file.data(), kPage);
  EXPECT_NE(Get(file.data(), 8, kWrite).lkey(), lkey);
}

TEST_F(Cache, BadRequestsAreErrorsThatSayWhatToDo) {
  Make();
  const Mapped memory(kPage);
  const auto message = [&](const void* address, std::size_t length, Access access) {
    const auto lease = cache_->Acquire(address, length, access);
    EXPECT_EQ(lease.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(lease.status().message());
  };
  EXPECT_THAT(message(nullptr, 8, kRead), HasSubstr("null"));
  EXPECT_THAT(message(memory.data(), 0, kRead), HasSubstr("0"));
  EXPECT_THAT(message(memory.data(), SIZE_MAX, kRead), HasSubstr("wrap"));
  EXPECT_THAT(message(memory.data(), 8, static_cast<Access>(1u << 30)), HasSubstr("unknown"));
  EXPECT_THAT(message(memory.data(), 8, Access::kRemoteWrite), HasSubstr("kLocalWrite"));
  EXPECT_THAT(message(memory.data(), 8, Access::kRemoteAtomic), HasSubstr("kLocalWrite"));
  EXPECT_EQ(registrar_->calls(), 0);
  EXPECT_EQ(cache_->stats().failures, 6u);
}

TEST_F(Cache, LongerThanTheDeviceCanIsRefusedAndNotShortened) {
  registrar_->set_limits({.max_region_bytes = 2 * kPage});
  Make();
  const Mapped memory(8 * kPage);
  const auto lease = cache_->Acquire(memory.data(), 2 * kPage + 1, kWrite);
  EXPECT_EQ(lease.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(lease.status().message()), HasSubstr("in pieces"));
  EXPECT_LE(Get(memory.data() + 1, 2 * kPage, kWrite).registered().size(), 2 * kPage);
}

TEST_F(Cache, TheLastPageOfTheAddressSpaceIsNotRoundedAway) {
  Make();
  const std::uintptr_t last_page = ~std::uintptr_t{4095};
  const auto lease = cache_->Acquire(reinterpret_cast<void*>(last_page + 8), 100, kRead);
  ASSERT_TRUE(lease.ok()) << lease.status();  // A device would refuse it.
  EXPECT_TRUE(lease->registered().Contains(lease->range()));
}

TEST_F(Cache, MakingOneWithoutARegistrarOrWithABadShareIsAnError) {
  EXPECT_EQ(RegistrationCache::Create(nullptr).status().code(), absl::StatusCode::kInvalidArgument);
  for (const double share : {-0.1, 1.0, 7.0}) {
    const auto made = RegistrationCache::Create(registrar_, {.max_union_waste = share});
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(Cache, ALeaseIsGivenBackOnAnyThreadAndMovesWithItsClaim) {
  Make();
  const Mapped memory(kPage);
  Lease lease = Get(memory.data(), 8, kWrite);
  Lease moved = std::move(lease);
  EXPECT_EQ(cache_->stats().leases, 1u);
  std::thread([taken = std::move(moved)]() mutable { taken = Lease(); }).join();
  EXPECT_EQ(cache_->stats().leases, 0u);
  EXPECT_EQ(cache_->stats().idle_bytes, kPage);
}

}  // namespace
}  // namespace linchpin::testing
