// Tests what the loopback device pins, and that it pins no longer than the registration lasts.
#include <sys/mman.h>
#include <sys/utsname.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "lib/registrar/loopback/key_table.h"
#include "tests/registrar/loopback_fixture.h"

namespace linchpin {
namespace {

using testing::kAllRights;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;
using testing::PinnedBytes;
using testing::WaitFor;

class LoopbackPins : public LoopbackTest {
 protected:
  // Kernels before 6.4 let an unpinned buffer go up to a second later.
  static bool KernelUnpinsAtOnce() {
    utsname name{};
    int major = 0;
    int minor = 0;
    return uname(&name) == 0 && std::sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 4));
  }

  void ExpectPinned(std::uint64_t bytes) const {
    if (!KernelUnpinsAtOnce()) {
      EXPECT_TRUE(WaitFor("unpinned", [&] { return PinnedBytes() - pinned_at_start_ == bytes; }));
    }
    EXPECT_EQ(PinnedBytes() - pinned_at_start_, bytes);
  }
};

TEST_F(LoopbackPins, ARegistrationPinsItsPagesUntilItIsDeregistered) {
  const Mapped memory(3 << 20);
  madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);  // Of which the kernel charges all.
  Registration page = Register({memory.start() + 5, memory.start() + 6});
  ExpectPinned(kPage);
  Registration two = Register({memory.start() + kPage - 1, memory.start() + kPage + 1});
  ExpectPinned(3 * kPage);
  Registration all = Register(memory);
  ExpectPinned(3 * kPage + memory.size());
  ASSERT_TRUE(device_->Deregister(page).ok());
  ExpectPinned(2 * kPage + memory.size());
  ASSERT_TRUE(device_->Deregister(all).ok());
  ExpectPinned(2 * kPage);
  ASSERT_TRUE(device_->Deregister(two).ok());
  ExpectPinned(0);
}

TEST_F(LoopbackPins, DestroyingTheDeviceUnpinsWhatIsRegistered) {
  const Mapped memory(3 << 20);
  Register(memory);
  ASSERT_GE(PinnedBytes() - pinned_at_start_, memory.size());
  device_.reset();
  EXPECT_EQ(PinnedBytes(), pinned_at_start_);
}

TEST_F(LoopbackPins, OneOfTwoRegistrationsOfAPageOutlivesTheOther) {
  const Mapped memory(kPage);
  Registration first = Register(memory);
  const Registration second = Register(memory);
  ASSERT_TRUE(device_->Deregister(first).ok());
  std::strcpy(memory.data(), "kept");
  ASSERT_EQ(Write(Local(second, 0, 5), Remote(second, 100)), Completion::kSuccess);
  EXPECT_STREQ(memory.data() + 100, "kept");
}

// The kernel charges a whole huge page to whoever pins the first part of it.
TEST_F(LoopbackPins, RegistrationsWithinOneHugePageLeaveNothing) {
  constexpr std::size_t kHuge = 2 << 20;
  const Mapped room(2 * kHuge);
  char* const huge = room.data() + (kHuge - room.start() % kHuge) % kHuge;
  if (madvise(huge, kHuge, MADV_HUGEPAGE) != 0) GTEST_SKIP() << "no transparent huge pages";
  std::memset(huge, 1, kHuge);
  const auto start = reinterpret_cast<std::uintptr_t>(huge);
  std::vector<Registration> all;
  for (std::size_t page = 0; page < 300; ++page) {
    all.push_back(Register({start + page * kPage, start + (page + 1) * kPage}));
  }
  EXPECT_GE(PinnedBytes() - pinned_at_start_, 300 * kPage);
  for (Registration& registration : all) ASSERT_TRUE(device_->Deregister(registration).ok());
  ExpectPinned(0);
}

TEST_F(LoopbackPins, AHoleIsRefusedAndNothingStaysPinned) {
  const Mapped memory(4 * kPage);
  ASSERT_EQ(mprotect(memory.data() + 2 * kPage, kPage, PROT_NONE), 0);
  const absl::Status status =
      device_->Register({memory.start(), memory.start() + 4 * kPage}, kAllRights).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status.ToString();
  EXPECT_EQ(PinnedBytes(), pinned_at_start_);
}

TEST_F(LoopbackPins, AHoleInALaterPieceLeavesNoPieceRegistered) {
  constexpr std::size_t kPiece = loopback::Region::kPieceBytes;
  const Mapped room(3 * kPiece);  // Hardly touched.
  madvise(room.data(), room.size(), MADV_NOHUGEPAGE);
  const std::uintptr_t border = (room.start() / kPiece + 2) * kPiece;
  const Range range{border - 9 * kPage, border + 9 * kPage};
  auto* const hole = reinterpret_cast<void*>(border + 8 * kPage);
  ASSERT_EQ(mprotect(hole, kPage, PROT_NONE), 0);
  for (int i = 0; i < 5000; ++i) {  // More than a ring has slots: none may be lost.
    const absl::Status status = device_->Register(range, kAllRights).status();
    ASSERT_TRUE(absl::IsFailedPrecondition(status)) << status.ToString();
    ASSERT_NE(status.ToString().find(range.ToString()), std::string::npos) << status.ToString();
  }
  ExpectPinned(0);
  ASSERT_EQ(mprotect(hole, kPage, PROT_READ | PROT_WRITE), 0);
  Register(range);
  ExpectPinned(range.size());
}

}  // namespace
}  // namespace linchpin
