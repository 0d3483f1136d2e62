// Calls that must not be made: an abort where the library is built for debugging, an error where it
// is not.
#include <array>
#include <functional>
#include <utility>

#include "lib/io/misuse.h"
#include "tests/io/fixture.h"

namespace linchpin::testing {
namespace {

class ScatterMisuse : public ScatterFixture {
 protected:
  // One for each call that returns a status.
  std::vector<std::function<absl::Status(ScatterList&)>> Calls() {
    const auto keeper = std::make_shared<int>(1);
    return {
        [this](ScatterList& list) { return list.AddLease(Get(memory_.data(), 8, kRead)); },
        [this](ScatterList& list) {
          return list.AddLease(Get(memory_.data(), 8, kRead), RangeAt(memory_.data(), 1));
        },
        [this](ScatterList& list) { return list.AddBorrowed(memory_.data(), 1, 1); },
        [this](ScatterList& list) { return list.AddRange(*cache_, memory_.data(), 1, kRead); },
        [keeper](ScatterList& list) { return list.Adopt(0, keeper); },
        [](ScatterList& list) { return list.Adopt(0, VaddrPin()); },
        [keeper](ScatterList& list) { return list.AdoptAll(1, keeper).status(); },
        [](ScatterList& list) { return list.SplitByProvenance().status(); },
        [](ScatterList& list) { return list.Release(); },
        [](ScatterList& list) {
          return ReleaseAll({&list, 1});
        },
    };
  }

  // As in a build with NDEBUG.
  void ExpectErrors(ScatterList& list) {
    list.ReturnMisuseForTest();
    for (const auto& call : Calls()) {
      const absl::Status status = call(list);
      EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
      EXPECT_EQ(leases(), 0u);
    }
    EXPECT_TRUE(list.elements().empty());
    EXPECT_EQ(list.size(), 0u);
    EXPECT_EQ(list.total_bytes(), 0u);
    EXPECT_EQ(list.byte_offset(), 0u);
    const ScatterRuns runs = list.Runs({});
    EXPECT_TRUE(runs.begin() == runs.end());
    list.Reset();
    EXPECT_TRUE(list.AddBorrowed(memory_.data(), 1, 1).ok());
    EXPECT_TRUE(list.Release().ok());
  }
};

TEST_F(ScatterMisuse, IsAnErrorWithoutDebugging) {
  const absl::Status status = internal::Misuse(internal::MisuseIs::kError, "misused");
  EXPECT_EQ(status, absl::FailedPreconditionError("misused"));
}

TEST_F(ScatterMisuse, AReleasedListTakesNothing) {
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 1, kRead).ok());
  ASSERT_TRUE(list.Release().ok());
  ExpectErrors(list);
}

TEST_F(ScatterMisuse, ASplitListTakesNothing) {
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 1, kRead).ok());
  auto lists = list.SplitByProvenance();
  ASSERT_TRUE(lists.ok());
  ASSERT_TRUE(ReleaseAll(*lists).ok());
  ExpectErrors(list);
}

TEST_F(ScatterMisuse, AllAreReleasedThoughOneWasBefore) {
  std::vector<ScatterList> lists;
  for (int i = 0; i < 3; ++i) {
    ScatterList& list = lists.emplace_back(kReads);
    list.ReturnMisuseForTest();
    ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 1, kRead).ok());
  }
  ASSERT_TRUE(lists[0].Release().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(ReleaseAll(lists)));
  EXPECT_EQ(leases(), 0u);
}

using ScatterMisuseDeathTest = ScatterMisuse;

TEST_F(ScatterMisuseDeathTest, IsFatalWithDebugging) {
  EXPECT_DEATH(static_cast<void>(internal::Misuse(internal::MisuseIs::kFatal, "misused")),
               "CHECK failed: misused");
}

TEST_F(ScatterMisuseDeathTest, AnIndexMustBeOfAnElement) {
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 1, 1).ok());
  EXPECT_DEATH(static_cast<void>(list.provenance(1)), "CHECK failed");
  EXPECT_DEATH(static_cast<void>(list.owner(1)), "CHECK failed");
}

// What the library does depends on how it was built.
TEST_F(ScatterMisuseDeathTest, AsTheLibraryWasBuilt) {
  ScatterList list(kReads);
  ASSERT_TRUE(list.Release().ok());
  ScatterList moved_from(kReads);
  const ScatterList target(std::move(moved_from));
  if (internal::kMisuse == internal::MisuseIs::kFatal) {
    EXPECT_DEATH(static_cast<void>(list.Release()), "was released or split before");
    EXPECT_DEATH(static_cast<void>(list.elements()), "was released or split before");
    EXPECT_DEATH(static_cast<void>(list.AddBorrowed(memory_.data(), 1, 1)), "before");
    EXPECT_DEATH(static_cast<void>(moved_from.Release()), "was moved from");
  } else {
    EXPECT_TRUE(absl::IsFailedPrecondition(list.Release()));
    EXPECT_TRUE(list.elements().empty());
    EXPECT_TRUE(absl::IsFailedPrecondition(list.AddBorrowed(memory_.data(), 1, 1)));
    EXPECT_TRUE(absl::IsFailedPrecondition(moved_from.Release()));
    EXPECT_EQ(moved_from.total_bytes(), 0u);
  }
}

}  // namespace
}  // namespace linchpin::testing
