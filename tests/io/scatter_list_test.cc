// Building scatter lists: what goes in, what is refused, and that a refusal loses nothing.
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

#include "lib/base/check.h"
#include "lib/base/no_allocation.h"
#include "tests/io/fixture.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;

class ScatterListTest : public ScatterFixture {};

static_assert(!std::is_copy_constructible_v<ScatterList>);
static_assert(!std::is_copy_assignable_v<ScatterList>);
static_assert(std::is_nothrow_move_constructible_v<ScatterList>);
static_assert(std::is_nothrow_move_assignable_v<ScatterList>);

TEST_F(ScatterListTest, ElementsAreWhatVerbsTake) {
  ScatterList list(kReads);
  Lease lease = Get(memory_.data(), 100, kRead);
  const std::uint32_t lkey = lease.lkey();
  ASSERT_TRUE(list.AddBorrowed(memory_.data() + kPage, 200, 77).ok());
  ASSERT_TRUE(list.AddLease(std::move(lease)).ok());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list.total_bytes(), 300u);
  EXPECT_EQ(list.byte_offset(), 0u);
  const std::span<const ibv_sge> elements = list.elements();
  EXPECT_EQ(elements[0].addr, memory_.start() + kPage);
  EXPECT_EQ(elements[0].length, 200u);
  EXPECT_EQ(elements[0].lkey, 77u);
  EXPECT_EQ(elements[1].addr, memory_.start());
  EXPECT_EQ(elements[1].length, 100u);
  EXPECT_EQ(elements[1].lkey, lkey);
  EXPECT_EQ(&elements[1], &elements[0] + 1);
  EXPECT_EQ(list.provenance(0), Provenance::kBorrowed);
  EXPECT_EQ(list.provenance(1), Provenance::kLease);
  EXPECT_EQ(list.owner(0), nullptr);
  EXPECT_EQ(static_cast<const Lease*>(list.owner(1))->lkey(), lkey);
}

TEST_F(ScatterListTest, APartOfALeaseHoldsAllOfIt) {
  ScatterList list(kReads);
  const Range part = RangeAt(memory_.data() + 10, 20);
  ASSERT_TRUE(list.AddLease(Get(memory_.data(), 100, kRead), part).ok());
  EXPECT_EQ(list.elements()[0].addr, part.start);
  EXPECT_EQ(list.total_bytes(), 20u);
  EXPECT_EQ(leases(), 1u);
  ASSERT_TRUE(list.Release().ok());
  EXPECT_EQ(leases(), 0u);
}

TEST_F(ScatterListTest, ALeaseThatIsRefusedIsGivenBack) {
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 1, 1).ok());
  const auto before = Describe(list);
  const auto add = [&](Range part) {
    const absl::Status status = list.AddLease(Get(memory_.data() + 50, 100, kRead), part);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("not within the lease's"));
    EXPECT_EQ(leases(), 0u);
  };
  add(RangeAt(memory_.data() + 49, 100));
  add(RangeAt(memory_.data() + 51, 100));
  add({memory_.start() + 60, memory_.start() + 60});
  add({memory_.start() + 61, memory_.start() + 60});
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddLease(Lease())));
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddLease(Lease(), RangeAt(memory_.data(), 1))));
  EXPECT_EQ(Describe(list), before);
  EXPECT_EQ(list.total_bytes(), 1u);
}

TEST_F(ScatterListTest, ARevokedLeaseIsRefused) {
  Owner owner;
  Lease lease = GetFor(owner, memory_.data(), 100, kWrite);
  owner.Die();
  ASSERT_TRUE(WaitFor("revoked", [&] { return lease.revoked(); }));
  ScatterList list(kReads);
  const absl::Status status = list.AddLease(std::move(lease));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("revoked"));
  EXPECT_EQ(list.size(), 0u);
  EXPECT_EQ(leases(), 0u);
}

TEST_F(ScatterListTest, AStaleLeaseIsItsHoldersBusiness) {
  Lease lease = Get(memory_.data(), 100, kRead);
  cache_->Invalidate(memory_.data(), 100);
  ASSERT_EQ(lease.state(), LeaseState::kStale);
  ScatterList list(kReads);
  EXPECT_TRUE(list.AddLease(std::move(lease)).ok());
}

TEST_F(ScatterListTest, WhatTheDeviceWritesIsLeasedForWriting) {
  const Owner owner;
  ScatterList list(kWrites);
  const absl::Status refused = list.AddLease(Get(memory_.data(), 100, kRead));
  EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("kLocalWrite"));
  EXPECT_EQ(leases(), 0u) << "given back";
  EXPECT_EQ(list.size(), 0u);
  ASSERT_TRUE(list.AddLease(Get(memory_.data() + 4 * kPage, 100, kWrite)).ok());
  ASSERT_TRUE(list.AddLease(Get(memory_.data() + 4 * kPage, 100, kRead)).ok()) << "the same region";
  ASSERT_TRUE(list.AddLease(Get(memory_.data() + 4 * kPage, 100, kRemote)).ok());
  ASSERT_TRUE(list.AddLease(GetFor(owner, memory_.data() + 4 * kPage, 100, kWrite)).ok());
  ASSERT_TRUE(list.Release().ok());
  ScatterList source(kReads);
  ASSERT_TRUE(source.AddLease(Get(memory_.data(), 100, kRead)).ok());
}

TEST_F(ScatterListTest, BorrowedMemoryMustBeARange) {
  ScatterList list(kReads);
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max();
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddBorrowed(nullptr, 10, 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddBorrowed(memory_.data(), 0, 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddBorrowed(memory_.data(), kMost, 1)));
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddRange(*cache_, nullptr, 10, kRead)));
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddRange(*cache_, memory_.data(), 0, kRead)));
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddRange(*cache_, memory_.data(), kMost, kRead)));
  EXPECT_EQ(list.size(), 0u);
}

// No such memory is needed to make elements for it.
TEST_F(ScatterListTest, WhatIsLongerThanAnElementIsSplitAtPages) {
  ScatterList list(kReads);
  const std::uint64_t length = (std::uint64_t{9} << 30) + 123;
  const auto* const address = reinterpret_cast<const void*>(0x7000'0000'0fffu);
  ASSERT_TRUE(list.AddBorrowed(address, length, 5).ok());
  EXPECT_EQ(list.total_bytes(), length);
  ASSERT_EQ(list.size(), 10u);
  std::uint64_t at = 0x7000'0000'0fffu;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const ibv_sge& element = list.elements()[i];
    EXPECT_EQ(element.addr, at);
    EXPECT_EQ(element.lkey, 5u);
    EXPECT_LE(element.length, ScatterList::kMaxElementBytes);
    EXPECT_TRUE(i == 0 || element.addr % kPage == 0);
    at += element.length;
  }
  EXPECT_EQ(at, 0x7000'0000'0fffu + length);
}

TEST_F(ScatterListTest, TooMuchForOneListIsRefusedBeforeItIsTried) {
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 1, 1).ok());
  const auto* const low = reinterpret_cast<const void*>(0x1000);
  const std::uint64_t most = ScatterList::kMaxElements * (ScatterList::kMaxElementBytes - kPage);
  const absl::Status status = list.AddBorrowed(low, most, 1);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("use several lists"));
  EXPECT_TRUE(absl::IsInvalidArgument(list.AddRange(*cache_, low, most, kRead)));
  EXPECT_EQ(registrar_->calls(), 0);
  EXPECT_EQ(list.size(), 1u);
}

TEST_F(ScatterListTest, CarriesTheKeysOfItsDevice) {
  registrar_->set_devices(2);
  Lease lease = Get(memory_.data(), 100, kRead);
  const std::uint32_t lkey = lease.lkey(1);
  ASSERT_NE(lkey, lease.lkey(0));
  ScatterList list(kReads, 1);
  ASSERT_TRUE(list.AddLease(std::move(lease)).ok());
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 8, kRead).ok());
  EXPECT_EQ(list.elements()[0].lkey, lkey);
  EXPECT_EQ(list.elements()[1].lkey, lkey);
}

TEST_F(ScatterListTest, MovesWithAllItHolds) {
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 8, kRead).ok());
  const ibv_sge* const elements = list.elements().data();
  ScatterList moved(std::move(list));
  EXPECT_EQ(moved.elements().data(), elements);
  ScatterList target(kReads);
  ASSERT_TRUE(target.AddRange(*cache_, memory_.data(), 8, kRead).ok());
  EXPECT_EQ(leases(), 2u);
  target = std::move(moved);
  EXPECT_EQ(leases(), 1u) << "what the target held has been given back";
  EXPECT_EQ(target.elements().data(), elements);
}

TEST_F(ScatterListTest, ALoopAllocatesNothingFromItsSecondRoundOn) {
  const Borrowed borrowed = Register(memory_.data() + 8 * kPage, kPage);
  const VaddrPin pin = Pin(memory_.data() + 4 * kPage, kPage);
  ScatterList list(kWrites);
  const auto round = [&] {
    list.Reset();
    for (std::size_t i = 0; i < 20; ++i) {
      LINCHPIN_CHECK(list.AddRange(*cache_, memory_.data() + i, 8, kWrite).ok());
    }
    LINCHPIN_CHECK(list.AddBorrowed(memory_.data() + 8 * kPage, 9, borrowed.lkey).ok());
    LINCHPIN_CHECK(list.AddBorrowed(memory_.data() + 9 * kPage, 9, borrowed.lkey).ok());
    LINCHPIN_CHECK(*list.AdoptAll(borrowed.lkey, borrowed.keeper) == 2);
    LINCHPIN_CHECK(list.Release().ok());
  };
  round();
  round();
  NoAllocation::Enter();  // From here on an allocation aborts.
  round();
  NoAllocation::Leave();
  EXPECT_EQ(leases(), 0u);
}

}  // namespace
}  // namespace linchpin::testing
