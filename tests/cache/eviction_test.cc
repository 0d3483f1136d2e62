// Limits: what is kept idle is bounded, and given up just as far as needed.
#include "tests/cache/fixture.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;

class Eviction : public CacheFixture {
 protected:
  // A registrar that has room for `bytes`, like RLIMIT_MEMLOCK: charged per registration.
  void LimitDevice(std::uint64_t bytes) {
    registrar_->OnRegister([this, bytes](Range range, Access) {
      return registrar_->registered_bytes() + range.size() > bytes
                 ? absl::ResourceExhaustedError("ENOMEM (Cannot allocate memory)")
                 : absl::OkStatus();
    });
  }
};

TEST_F(Eviction, ACyclicWorkingSetEqualToTheLimitHitsAlways) {
  Make({.max_idle_bytes = 64 * kPage});
  std::vector<Mapped> buffers;
  for (int i = 0; i < 64; ++i) buffers.emplace_back(kPage);
  for (int round = 0; round < 10; ++round) {
    for (const Mapped& buffer : buffers) Get(buffer.data(), kPage, kWrite);
  }
  EXPECT_EQ(registrar_->calls(), 64);
  EXPECT_EQ(cache_->stats().hits, 9u * 64);
  EXPECT_EQ(cache_->stats().evictions, 0u);
}

TEST_F(Eviction, IdleBytesNeverExceedTheLimit) {
  Make({.max_idle_bytes = 8 * kPage});
  std::vector<Mapped> buffers;
  for (int i = 0; i < 40; ++i) {
    buffers.emplace_back(kPage);
    Get(buffers.back().data(), kPage, kWrite);
    EXPECT_LE(cache_->stats().idle_bytes, 8 * kPage);
  }
  EXPECT_EQ(cache_->stats().evictions, 32u);
}

TEST_F(Eviction, WhatWasHitOutlivesWhatWasNot) {
  Make({.max_idle_bytes = 8 * kPage});
  const Mapped hot(kPage);
  Get(hot.data(), 8, kWrite);
  std::vector<Mapped> buffers;
  for (int i = 0; i < 40; ++i) {
    buffers.emplace_back(kPage);
    Get(buffers.back().data(), kPage, kWrite);
    Get(hot.data(), 8, kWrite);
  }
  EXPECT_EQ(registrar_->calls(), 41) << "the hot region was registered once";
}

TEST_F(Eviction, ARegionLargerThanTheLimitIsNotKeptAndEvictsNothing) {
  Make({.max_idle_bytes = 8 * kPage});
  const Mapped small(kPage);
  const Mapped large(9 * kPage);
  Get(small.data(), 8, kWrite);
  Get(large.data(), 9 * kPage, kWrite);
  EXPECT_EQ(cache_->stats().idle_bytes, kPage);
  Get(small.data(), 8, kWrite);
  EXPECT_EQ(registrar_->calls(), 2);
}

TEST_F(Eviction, HeldRegionsAreNeverEvicted) {
  Make({.max_idle_bytes = kPage});
  std::vector<Mapped> buffers;
  std::vector<Lease> leases;
  for (int i = 0; i < 20; ++i) {
    buffers.emplace_back(kPage);
    leases.push_back(Get(buffers.back().data(), kPage, kWrite));
  }
  for (const Lease& lease : leases) EXPECT_TRUE(registrar_->IsAlive(lease.lkey()));
  EXPECT_EQ(cache_->stats().held_bytes, 20 * kPage);
}

TEST_F(Eviction, OneENOMEMAmongAHundredIdleRegionsEvictsJustOne) {
  Make();
  LimitDevice(100 * kPage);
  std::vector<Mapped> buffers;
  for (int i = 0; i < 100; ++i) {
    buffers.emplace_back(kPage);
    Get(buffers.back().data(), kPage, kWrite);
  }
  EXPECT_EQ(cache_->stats().evictions, 0u);
  const Mapped another(kPage);
  Get(another.data(), kPage, kWrite);
  EXPECT_EQ(cache_->stats().evictions, 1u);
  const Mapped larger(10 * kPage);
  Get(larger.data(), 10 * kPage, kWrite);
  EXPECT_EQ(cache_->stats().evictions, 11u);
}

TEST_F(Eviction, EFAULTAndTheOthersEvictNothing) {
  Make();
  std::vector<Mapped> buffers;
  for (int i = 0; i < 50; ++i) {
    buffers.emplace_back(kPage);
    Get(buffers.back().data(), kPage, kWrite);
  }
  const Mapped bad(kPage);
  for (const absl::Status& refusal :
       {absl::FailedPreconditionError("EFAULT"), absl::InvalidArgumentError("EINVAL"),
        absl::PermissionDeniedError("EPERM"), absl::UnimplementedError("EOPNOTSUPP")}) {
    registrar_->OnRegister([&](Range, Access) { return refusal; });
    EXPECT_EQ(cache_->Acquire(bad.data(), 8, kWrite).status(), refusal);
  }
  EXPECT_EQ(cache_->stats().evictions, 0u);
  EXPECT_EQ(cache_->stats().regions, 50u);
  registrar_->OnRegister(nullptr);
}

TEST_F(Eviction, WithEverythingHeldENOMEMNamesTheHolders) {
  Make();
  LimitDevice(4 * kPage);
  const Mapped memory(4 * kPage);
  const Lease held = Get(memory.data(), 4 * kPage, kWrite);
  const Mapped another(kPage);
  const auto refused = cache_->Acquire(another.data(), kPage, kWrite);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  const std::string message(refused.status().message());
  EXPECT_THAT(message, HasSubstr("ENOMEM"));
  EXPECT_THAT(message, HasSubstr("RLIMIT_MEMLOCK"));
  EXPECT_THAT(message, HasSubstr("1 leases hold 16384 bytes"));
  EXPECT_THAT(message, HasSubstr(held.registered().ToString()));
  EXPECT_EQ(cache_->stats().regions, 1u);
}

TEST_F(Eviction, TheNumberOfRegionsIsBounded) {
  Make({.max_regions = 8});
  std::vector<Mapped> buffers;
  for (int i = 0; i < 30; ++i) {
    buffers.emplace_back(kPage);
    Get(buffers.back().data(), kPage, kWrite);
    EXPECT_LE(registrar_->registered_count(), 8u);
  }
  std::vector<Lease> held;
  for (int i = 0; i < 8; ++i) {
    held.push_back(Get(buffers[static_cast<std::size_t>(i)].data(), kPage, kWrite));
  }
  const auto refused = cache_->Acquire(buffers.back().data(), kPage, kWrite);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(Eviction, HeldBytesAreBoundedWhenAskedFor) {
  Make({.max_held_bytes = 4 * kPage});
  const Mapped memory(4 * kPage);
  const Mapped another(kPage);
  Lease held = Get(memory.data(), 4 * kPage, kWrite);
  EXPECT_EQ(cache_->Acquire(another.data(), 1, kWrite).status().code(),
            absl::StatusCode::kResourceExhausted);
  held = Lease();
  Get(another.data(), 1, kWrite);
}

TEST_F(Eviction, AHitThatWouldHoldTooMuchIsRefusedToo) {
  Make({.max_held_bytes = 4 * kPage});
  const Mapped memory(4 * kPage);
  const Mapped another(4 * kPage);
  Get(memory.data(), 4 * kPage, kWrite);
  const Lease held = Get(another.data(), 4 * kPage, kWrite);
  EXPECT_EQ(cache_->Acquire(memory.data(), 1, kWrite).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(cache_->stats().held_bytes, 4 * kPage);
}

TEST_F(Eviction, TrimDeregistersIdleRegionsOnly) {
  Make();
  std::vector<Mapped> buffers;
  for (int i = 0; i < 10; ++i) buffers.emplace_back(kPage);
  for (const Mapped& buffer : buffers) Get(buffer.data(), kPage, kWrite);
  const Lease held = Get(buffers[0].data(), 1, kWrite);
  EXPECT_EQ(cache_->Trim(4 * kPage), 4 * kPage);
  EXPECT_EQ(registrar_->registered_count(), 5u);
  EXPECT_EQ(cache_->Trim(0), 0u);
  EXPECT_EQ(registrar_->registered_count(), 1u);
  EXPECT_TRUE(registrar_->IsAlive(held.lkey()));
}

}  // namespace
}  // namespace linchpin::testing
