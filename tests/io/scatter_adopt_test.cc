// Borrowed elements that become counted ones.
#include <utility>

#include "tests/io/fixture.h"

namespace linchpin::testing {
namespace {

class ScatterAdopt : public ScatterFixture {};

TEST_F(ScatterAdopt, TheListKeepsWhatItsCallerLetsGo) {
  Borrowed borrowed = Register(memory_.data(), 2 * kPage);
  const std::weak_ptr<const void> alive = borrowed.keeper;
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), kPage, borrowed.lkey).ok());
  ASSERT_TRUE(list.Adopt(0, borrowed.keeper).ok());
  EXPECT_EQ(list.provenance(0), Provenance::kAdopted);
  EXPECT_EQ(list.owner(0), borrowed.keeper.get());
  borrowed.keeper.reset();
  EXPECT_TRUE(registrar_->IsAlive(borrowed.lkey));
  ASSERT_TRUE(list.Release().ok());
  EXPECT_TRUE(alive.expired());
  EXPECT_EQ(registrar_->registered_count(), 0u);
}

TEST_F(ScatterAdopt, AllOfOneKeyAtOnceAndNoOthers) {
  const Borrowed one = Register(memory_.data(), kPage);
  const Borrowed two = Register(memory_.data() + kPage, kPage);
  ScatterList list(kReads);
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(list.AddBorrowed(memory_.data() + i, 1, one.lkey).ok());
    ASSERT_TRUE(list.AddBorrowed(memory_.data() + kPage + i, 1, two.lkey).ok());
  }
  ASSERT_TRUE(list.Adopt(2, two.keeper).ok());  // Another's count; it is no borrowed one any more.
  const auto adopted = list.AdoptAll(one.lkey, one.keeper);
  ASSERT_TRUE(adopted.ok());
  EXPECT_EQ(*adopted, 2u);
  EXPECT_EQ(list.owner(0), one.keeper.get());
  EXPECT_EQ(list.owner(2), two.keeper.get());
  EXPECT_EQ(list.owner(4), one.keeper.get());
  for (const std::size_t i : {1u, 3u, 5u})
    EXPECT_EQ(list.provenance(i), Provenance::kBorrowed) << i;
  EXPECT_EQ(one.keeper.use_count(), 2) << "one count for all";
  EXPECT_EQ(*list.AdoptAll(12345, one.keeper), 0u);
  ASSERT_TRUE(list.Release().ok());
  EXPECT_EQ(one.keeper.use_count(), 1);
  EXPECT_EQ(two.keeper.use_count(), 1);
}

TEST_F(ScatterAdopt, OnlyBorrowedElementsAndNeverTwice) {
  const Borrowed borrowed = Register(memory_.data(), kPage);
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 1, borrowed.lkey).ok());
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 1, kRead).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(list.Adopt(2, borrowed.keeper)));
  EXPECT_TRUE(absl::IsFailedPrecondition(list.Adopt(1, borrowed.keeper)));
  EXPECT_TRUE(absl::IsInvalidArgument(list.Adopt(0, nullptr)));
  EXPECT_TRUE(absl::IsInvalidArgument(list.AdoptAll(borrowed.lkey, nullptr).status()));
  ASSERT_TRUE(list.Adopt(0, borrowed.keeper).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(list.Adopt(0, borrowed.keeper)));
  EXPECT_EQ(borrowed.keeper.use_count(), 2);
}

TEST_F(ScatterAdopt, APinEndsWithTheList) {
  VaddrPin pin = Pin(memory_.data(), kPage);
  const std::uint32_t lkey = pin.lkey();
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data() + 5, 10, lkey).ok());
  ASSERT_TRUE(list.Adopt(0, std::move(pin)).ok());
  EXPECT_EQ(list.provenance(0), Provenance::kPinned);
  EXPECT_EQ(static_cast<const VaddrPin*>(list.owner(0))->lkey(), lkey);
  EXPECT_TRUE(registrar_->IsAlive(lkey));
  ASSERT_TRUE(list.Release().ok());
  EXPECT_FALSE(registrar_->IsAlive(lkey));
}

TEST_F(ScatterAdopt, APinOfWhatTheDeviceWritesIsForWriting) {
  const VaddrPin readable = Pin(memory_.data(), kPage, kRead);
  const VaddrPin writable = Pin(memory_.data(), kPage);
  ScatterList list(kWrites);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 10, readable.lkey()).ok());
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 10, writable.lkey()).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(list.Adopt(0, readable.Ref())));
  EXPECT_TRUE(list.Adopt(1, writable.Ref()).ok());
}

TEST_F(ScatterAdopt, APinMustBeTheElementsOwn) {
  const VaddrPin pin = Pin(memory_.data(), kPage);
  const VaddrPin other = Pin(memory_.data(), 2 * kPage);
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data() + kPage - 5, 10, pin.lkey()).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(list.Adopt(0, VaddrPin())));
  EXPECT_TRUE(absl::IsInvalidArgument(list.Adopt(0, pin.Ref()))) << "it reaches further";
  EXPECT_TRUE(absl::IsInvalidArgument(list.Adopt(0, other.Ref()))) << "it has another key";
  PinRequest frames;
  frames.range = RangeAt(memory_.data(), 2 * kPage);
  frames.kind = PinKind::kFrameOnly;
  auto frame_only = PinVaddr(registrar_, frames);
  ASSERT_TRUE(frame_only.ok()) << frame_only.status();
  EXPECT_TRUE(absl::IsInvalidArgument(list.Adopt(0, *std::move(frame_only))));
  EXPECT_EQ(list.provenance(0), Provenance::kBorrowed);
}

TEST_F(ScatterAdopt, ARevokedPinIsRefused) {
  Owner owner;
  PinRequest request;
  request.range = RangeAt(memory_.data(), kPage);
  request.file = owner.file;
  auto pin = PinVaddr(registrar_, request);
  ASSERT_TRUE(pin.ok()) << pin.status();
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 10, pin->lkey()).ok());
  owner.Die();
  ASSERT_TRUE(WaitFor("revoked", [&] { return pin->revoked(); }));
  EXPECT_TRUE(absl::IsFailedPrecondition(list.Adopt(0, *std::move(pin))));
}

}  // namespace
}  // namespace linchpin::testing
