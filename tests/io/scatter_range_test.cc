// AddRange: one lease where there can be one, pieces where there cannot, and all or nothing.
#include <sys/mman.h>

#include <algorithm>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "tests/io/fixture.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;

class ScatterRange : public ScatterFixture {
 protected:
  void LimitRegions(std::uint64_t bytes) {
    RegistrarLimits limits;
    limits.max_region_bytes = bytes;
    registrar_->set_limits(limits);
    Make();
  }

  // A device that registers no two mappings together: one with each of these borders.
  void RefuseAcross(std::vector<std::uintptr_t> borders) {
    registrar_->OnRegister([borders = std::move(borders)](Range range, Access) {
      const bool across = std::any_of(borders.begin(), borders.end(), [&](std::uintptr_t border) {
        return range.start < border && border < range.end;
      });
      return across ? absl::UnimplementedError("EOPNOTSUPP") : absl::OkStatus();
    });
  }

  // Another kind of memory from `page` on, so that the kernel has a mapping of its own for it.
  std::uintptr_t Share(std::size_t page, std::size_t pages) {
    constexpr int kShared = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
    char* const at = memory_.data() + page * kPage;
    EXPECT_EQ(mmap(at, pages * kPage, PROT_READ | PROT_WRITE, kShared, -1, 0), at);
    return reinterpret_cast<std::uintptr_t>(at);
  }

  // Acquires `range` and compares: the elements are `borders` apart, each under a live key of a
  // registration that contains it.
  void ExpectPieces(const Range& range, const std::vector<std::uintptr_t>& borders) {
    ScatterList list(kReads);
    const std::uint64_t leases_before = leases();
    const absl::Status status =
        list.AddRange(*cache_, reinterpret_cast<void*>(range.start), range.size(), kRead);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(list.size(), borders.size() + 1);
    for (std::size_t i = 0; i < list.size(); ++i) {
      const ibv_sge& element = list.elements()[i];
      EXPECT_EQ(element.addr, i == 0 ? range.start : borders[i - 1]);
      EXPECT_EQ(element.addr + element.length, i < borders.size() ? borders[i] : range.end);
      EXPECT_TRUE(registrar_->IsAlive(element.lkey));
      const auto* const lease = static_cast<const Lease*>(list.owner(i));
      EXPECT_EQ(lease->lkey(), element.lkey);
      EXPECT_TRUE(lease->registered().Contains({element.addr, element.addr + element.length}));
    }
    EXPECT_EQ(leases(), leases_before + list.size());
    cache_->CheckInvariantsForTest();
    EXPECT_TRUE(list.Release().ok());
    EXPECT_EQ(leases(), leases_before);
  }

  std::uintptr_t At(std::size_t page) const { return memory_.start() + page * kPage; }
};

TEST_F(ScatterRange, OneLeaseWhereThereCanBeOne) {
  ExpectPieces({At(0) + 5, At(9) + 7}, {});
  EXPECT_EQ(registrar_->calls(), 1);
  ExpectPieces({At(1), At(2)}, {});
  EXPECT_EQ(registrar_->calls(), 1) << "a hit";
}

TEST_F(ScatterRange, ForADeviceThatTheRegistrarHasNotIsRefused) {
  ScatterList list(kReads, 1);
  const absl::Status status = list.AddRange(*cache_, memory_.data(), kPage, kRead);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("device 1"));
  EXPECT_EQ(list.AddLease(Get(memory_.data(), kPage, kRead)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(list.size(), 0U);
  EXPECT_EQ(leases(), 0U);
}

TEST_F(ScatterRange, IsCutAtTheLongestRegion) {
  LimitRegions(4 * kPage);
  ExpectPieces({At(0), At(4)}, {});
  cache_->Trim(0);
  ExpectPieces({At(0), At(16)}, {At(4), At(8), At(12)});
}

TEST_F(ScatterRange, IsCutAtPages) {
  LimitRegions(4 * kPage + 100);
  ExpectPieces({At(0) + 5, At(9) + 7}, {At(4), At(8)});
  EXPECT_EQ(registrar_->registered_bytes(), 10 * kPage);
}

TEST_F(ScatterRange, ALimitBelowAPageIsKeptToo) {
  LimitRegions(100);
  ExpectPieces({At(0), At(0) + 250}, {At(0) + 100, At(0) + 200});
}

TEST_F(ScatterRange, WhatIsRegisteredIsNotRegisteredAgain) {
  LimitRegions(4 * kPage);
  const Lease one = Get(memory_.data() + 2 * kPage, 3 * kPage, kRead);
  const Lease two = Get(memory_.data() + 9 * kPage, 4 * kPage, kWrite);
  ExpectPieces({At(3), At(15)}, {At(5), At(9), At(13)});
  EXPECT_EQ(registrar_->calls(), 4);
  EXPECT_EQ(registrar_->registered_bytes(), 13 * kPage);
}

TEST_F(ScatterRange, ARegionWithoutTheRightsIsNoBorder) {
  LimitRegions(4 * kPage);
  const Lease read = Get(memory_.data() + 2 * kPage, kPage, kRead);
  ScatterList list(kWrites);
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 8 * kPage, kWrite).ok());
  EXPECT_EQ(list.size(), 2u);
}

TEST_F(ScatterRange, HeldRegionsMakeDoWhereThereIsNoRoomForTheWhole) {
  RegistrarLimits limits;
  registrar_->set_limits(limits);
  Make();
  registrar_->OnRegister([&](Range range, Access) {
    return registrar_->registered_bytes() + range.size() > 10 * kPage
               ? absl::ResourceExhaustedError("ENOMEM")
               : absl::OkStatus();
  });
  const Lease held = Get(memory_.data() + 2 * kPage, 6 * kPage, kRead);
  ExpectPieces({At(0), At(10)}, {At(2), At(8)});
}

TEST_F(ScatterRange, IsCutAtMappingsWhenItIsRefused) {
  Share(4, 3);
  RefuseAcross({At(4), At(7)});
  ExpectPieces({At(1) + 9, At(12)}, {At(4), At(7)});
  EXPECT_EQ(registrar_->calls(), 4) << "once as a whole";
}

TEST_F(ScatterRange, IsCutAtMappingsWithinTheLongestRegion) {
  LimitRegions(6 * kPage);
  Share(4, 3);
  RefuseAcross({At(4), At(7)});
  ExpectPieces({At(0), At(16)}, {At(4), At(7), At(13)});
}

TEST_F(ScatterRange, AHoleIsRefusedBeforeItsNeighboursAreRegistered) {
  munmap(memory_.data() + 12 * kPage, kPage);
  registrar_->OnRegister([&](Range range, Access) {
    return range.end > At(12) ? absl::FailedPreconditionError("EFAULT") : absl::OkStatus();
  });
  Share(4, 3);
  ScatterList list(kReads);
  EXPECT_TRUE(
      absl::IsFailedPrecondition(list.AddRange(*cache_, memory_.data(), 16 * kPage, kRead)));
  EXPECT_EQ(registrar_->registered_count(), 0u);
  EXPECT_EQ(list.size(), 0u);
}

TEST_F(ScatterRange, APieceThatIsRefusedGivesTheOthersBack) {
  Share(4, 3);
  RefuseAcross({At(4), At(7), At(9)});  // No mapping begins at the last of them.
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddBorrowed(memory_.data(), 1, 1).ok());
  const auto before = Describe(list);
  const absl::Status status = list.AddRange(*cache_, memory_.data(), 16 * kPage, kRead);
  EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
  EXPECT_EQ(Describe(list), before);
  EXPECT_EQ(list.total_bytes(), 1u);
  EXPECT_EQ(leases(), 0u);
}

TEST_F(ScatterRange, RemoteRightsAreCutAtTheLongestRegionOnly) {
  LimitRegions(4 * kPage);
  const Lease local = Get(memory_.data() + 2 * kPage, kPage, kWrite);
  ScatterList list(kWrites);
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data() + 10, 5 * kPage, kRemote).ok());
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list.elements()[1].addr, At(4));
}

TEST_F(ScatterRange, PiecesHaveTheirOwner) {
  LimitRegions(4 * kPage);
  const Owner owner;
  ScatterList list(kReads);
  ASSERT_TRUE(list.AddRange(*cache_, memory_.data(), 9 * kPage, kRead, owner.file).ok());
  EXPECT_EQ(list.size(), 3u);
  EXPECT_EQ(owner.file->held(), 3u);
  ASSERT_TRUE(list.Release().ok());
  EXPECT_EQ(owner.file->held(), 0u);
}

TEST_F(ScatterRange, WhatTheDeviceWritesIsAcquiredForWriting) {
  ScatterList list(kWrites);
  const absl::Status status = list.AddRange(*cache_, memory_.data(), 8, kRead);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("kLocalWrite"));
  EXPECT_EQ(registrar_->calls(), 0);
}

TEST_F(ScatterRange, WorksWithoutACache) {
  RegistrarLimits limits;
  limits.max_region_bytes = 4 * kPage;
  registrar_->set_limits(limits);
  Make({.mode = Mode::kOff});
  const Lease other = Get(memory_.data(), kPage, kRead);
  ExpectPieces({At(0), At(6)}, {At(4)});
}

// Take a success, then let the first, second, ... registration fail, until none does.
class ScatterFailNth : public ScatterRange {
 protected:
  void FailEach(const absl::Status& failure) {
    int left = 0;
    const auto hook = [&](Range range, Access) -> absl::Status {
      if (range.start < At(4) && At(4) < range.end) return absl::UnimplementedError("EOPNOTSUPP");
      return --left == 0 ? failure : absl::OkStatus();
    };
    for (int nth = 1;; ++nth) {
      ASSERT_LT(nth, 20);
      Make();
      left = nth;
      registrar_->OnRegister(hook);
      ScatterList list(kReads);
      ASSERT_TRUE(list.AddBorrowed(memory_.data(), 7, 1).ok());
      const auto before = Describe(list);
      const absl::Status status = list.AddRange(*cache_, memory_.data() + 9, 15 * kPage, kRead);
      const bool all = left > 0;  // The nth never came.
      if (all) {
        ASSERT_TRUE(status.ok()) << status;
        EXPECT_EQ(list.total_bytes(), 7 + 15 * kPage);
        EXPECT_EQ(leases(), list.size() - 1);
        return;
      }
      if (!status.ok()) {
        EXPECT_EQ(Describe(list), before) << nth;
        EXPECT_EQ(list.total_bytes(), 7u);
        EXPECT_EQ(leases(), 0u) << nth;
      }
      cache_->CheckInvariantsForTest();
      ASSERT_TRUE(list.Release().ok());
      ASSERT_TRUE(cache_->Close(absl::Seconds(30)).ok());
      ASSERT_EQ(registrar_->registered_count(), 0u);
    }
  }

  void SetUp() override {
    RegistrarLimits limits;
    limits.max_region_bytes = 5 * kPage;
    registrar_->set_limits(limits);
    Share(4, 4);
  }
};

TEST_F(ScatterFailNth, OutOfMemory) {
  FailEach(absl::ResourceExhaustedError("ENOMEM"));
}

TEST_F(ScatterFailNth, NotThere) {
  FailEach(absl::FailedPreconditionError("EFAULT"));
}

TEST_F(ScatterFailNth, NotSupported) {
  FailEach(absl::UnimplementedError("EOPNOTSUPP"));
}

}  // namespace
}  // namespace linchpin::testing
