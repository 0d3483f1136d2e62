// Letting go: of everything, once, whatever has happened; and what is marked dirty then.
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include "absl/time/time.h"

#include "tests/io/fixture.h"

namespace linchpin::testing {
namespace {

using ::testing::ElementsAre;

class ScatterRelease : public ScatterFixture {
 protected:
  // A list of one element of each provenance, in pages 0, 4, 8 and 12.
  ScatterList OneOfEach(TransferDirection direction) {
    borrowed_ = Register(memory_.data(), kPage);
    const Borrowed adopted = Register(memory_.data() + 8 * kPage, kPage);
    adopted_ = adopted.keeper;
    pin_ = Pin(memory_.data() + 12 * kPage, kPage);
    ScatterList list(direction);
    EXPECT_TRUE(list.AddBorrowed(memory_.data(), 100, borrowed_.lkey).ok());
    EXPECT_TRUE(list.AddRange(*cache_, memory_.data() + 4 * kPage, 100, kWrite).ok());
    EXPECT_TRUE(list.AddBorrowed(memory_.data() + 8 * kPage, 100, adopted.lkey).ok());
    EXPECT_TRUE(list.Adopt(2, adopted_).ok());
    EXPECT_TRUE(list.AddBorrowed(memory_.data() + 12 * kPage, 100, pin_.lkey()).ok());
    EXPECT_TRUE(list.Adopt(3, pin_.Ref()).ok());
    return list;
  }

  void ExpectHeld(bool held) {
    EXPECT_EQ(leases(), held ? 1u : 0u);
    EXPECT_EQ(adopted_.use_count(), held ? 2 : 1);
    EXPECT_EQ(borrowed_.keeper.use_count(), 1);
  }

  void TearDown() override {
    borrowed_.keeper.reset();
    adopted_.reset();
    pin_ = VaddrPin();
    ScatterFixture::TearDown();
  }

  Borrowed borrowed_;
  std::shared_ptr<const void> adopted_;
  VaddrPin pin_;
};

TEST_F(ScatterRelease, EachInItsOwnWay) {
  ScatterList list = OneOfEach(kReads);
  ExpectHeld(true);
  ASSERT_TRUE(list.Release().ok());
  ExpectHeld(false);
  EXPECT_TRUE(pin_.dirty().empty());
  EXPECT_TRUE(registrar_->IsAlive(borrowed_.lkey)) << "it is the caller's own";
  EXPECT_TRUE(registrar_->IsAlive(pin_.lkey())) << "the other reference is left";
}

TEST_F(ScatterRelease, TheDestructorDoesTheSame) {
  {
    const ScatterList list = OneOfEach(kWrites);
    ExpectHeld(true);
  }
  ExpectHeld(false);
  EXPECT_THAT(pin_.dirty(), ElementsAre(RangeAt(memory_.data() + 12 * kPage, 100)));
}

TEST_F(ScatterRelease, SoDoesReset) {
  ScatterList list = OneOfEach(kWrites);
  list.Reset();
  ExpectHeld(false);
  EXPECT_EQ(pin_.dirty().size(), 1u);
  EXPECT_EQ(list.size(), 0u);
  EXPECT_EQ(list.total_bytes(), 0u);
  EXPECT_TRUE(list.Release().ok());
}

TEST_F(ScatterRelease, OnlyWhatWasWrittenIsDirty) {
  const VaddrPin pin = Pin(memory_.data(), 4 * kPage);
  const auto dirty_after = [&](std::uint64_t bytes) {
    const VaddrPin fresh = Pin(memory_.data(), 4 * kPage);
    ScatterList list(kWrites);
    for (const std::size_t page : {2u, 0u}) {
      EXPECT_TRUE(list.AddBorrowed(memory_.data() + page * kPage, 100, fresh.lkey()).ok());
      EXPECT_TRUE(list.Adopt(list.size() - 1, fresh.Ref()).ok());
    }
    EXPECT_TRUE(list.Release(bytes).ok());
    return fresh.dirty();
  };
  const Range first = RangeAt(memory_.data() + 2 * kPage, 100);
  EXPECT_THAT(dirty_after(0), ElementsAre());
  EXPECT_THAT(dirty_after(1), ElementsAre(RangeAt(memory_.data() + 2 * kPage, 1)));
  EXPECT_THAT(dirty_after(100), ElementsAre(first));
  EXPECT_THAT(dirty_after(130), ElementsAre(RangeAt(memory_.data(), 30), first));
  EXPECT_THAT(dirty_after(200), ElementsAre(RangeAt(memory_.data(), 100), first));
  EXPECT_THAT(dirty_after(201), ElementsAre(RangeAt(memory_.data(), 100), first));
}

// Sync deregisters what is dirty, and leaves the rest as it is.
TEST_F(ScatterRelease, ALeaseThatWasWrittenIsDirtyForItsOwner) {
  const auto registered_after_sync = [&](TransferDirection direction, std::uint64_t bytes) {
    const Owner owner;
    ScatterList list(direction);
    EXPECT_TRUE(list.AddRange(*cache_, memory_.data(), 100, kWrite, owner.file).ok());
    EXPECT_TRUE(list.Release(bytes).ok());
    EXPECT_TRUE(owner.file->Sync().ok());
    return registrar_->registered_count();
  };
  EXPECT_EQ(registered_after_sync(kReads, ScatterList::kAllBytes), 1u);
  EXPECT_EQ(registered_after_sync(kWrites, 0), 1u);
  EXPECT_EQ(registered_after_sync(kWrites, 1), 0u);
}

TEST_F(ScatterRelease, AfterAnAddThatFailed) {
  ScatterList list = OneOfEach(kWrites);
  const auto before = Describe(list);
  registrar_->OnRegister([](Range, Access) { return absl::ResourceExhaustedError("ENOMEM"); });
  EXPECT_FALSE(list.AddRange(*cache_, memory_.data() + 6 * kPage, 100, kRemote).ok());
  EXPECT_EQ(Describe(list), before);
  ASSERT_TRUE(list.Release().ok());
  ExpectHeld(false);
}

TEST_F(ScatterRelease, AfterTheCacheIsGone) {
  ScatterList list = OneOfEach(kWrites);
  EXPECT_TRUE(absl::IsFailedPrecondition(cache_->Close(absl::ZeroDuration())));
  cache_.reset();
  ASSERT_TRUE(list.Release().ok());
  adopted_.reset();
  borrowed_.keeper.reset();
  pin_ = VaddrPin();
  EXPECT_TRUE(WaitFor("deregistered", [&] { return registrar_->registered_count() == 0; }));
}

TEST_F(ScatterRelease, AfterTheCacheWasClosed) {
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 1, 1).ok());
  ASSERT_TRUE(cache_->Close(absl::Seconds(30)).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(list.AddRange(*cache_, memory_.data(), 3 * kPage, kRead)));
  EXPECT_EQ(list.size(), 1u);
  EXPECT_TRUE(list.Release().ok());
}

TEST_F(ScatterRelease, OfStaleAndRevokedLeases) {
  Owner owner;
  ScatterList list(kWrites);
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 100, kWrite).ok());
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data() + 8 * kPage, 100, kWrite, owner.file).ok());
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data() + 9 * kPage, 100, kRemote, owner.file).ok());
  cache_->Invalidate(memory_.data(), kPage);
  owner.Die();
  const auto* const revoked = static_cast<const Lease*>(list.owner(2));
  ASSERT_TRUE(WaitFor("revoked", [&] { return revoked->revoked(); }));
  EXPECT_TRUE(list.Release().ok());
  EXPECT_EQ(leases(), 0u);
  EXPECT_TRUE(WaitFor("deregistered", [&] { return registrar_->registered_count() == 0; }));
}

TEST_F(ScatterRelease, AForkedChildsCopyTouchesNoDevice) {
  ScatterList list(kWrites);
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 100, kWrite).ok());
  registrar_->OnDeregister([](Range) { _exit(2); });
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(list.Release().ok() ? 0 : 1);
  }
  registrar_->OnDeregister(nullptr);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_EQ(leases(), 1u);
}

}  // namespace
}  // namespace linchpin::testing
