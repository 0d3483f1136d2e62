// A descriptor is closed once, by its one owner.
#include "lib/base/fd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "gtest/gtest.h"

namespace linchpin {
namespace {

bool IsOpen(int fd) {
  return fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}

int OpenOne() {
  return memfd_create("fd_test", MFD_CLOEXEC);
}

TEST(Fd, IsClosedWithItsOwner) {
  const int number = OpenOne();
  ASSERT_GE(number, 0);
  {
    const Fd fd(number);
    EXPECT_TRUE(fd.valid());
    EXPECT_EQ(fd.get(), number);
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(Fd, OwnsNothingByDefault) {
  const Fd fd;
  EXPECT_FALSE(fd.valid());
  EXPECT_EQ(fd.get(), -1);
}

TEST(Fd, MovesItsDescriptor) {
  const int number = OpenOne();
  Fd first(number);
  Fd second(std::move(first));
  EXPECT_EQ(second.get(), number);
  EXPECT_TRUE(IsOpen(number));
  Fd third;
  third = std::move(second);
  EXPECT_EQ(third.get(), number);
  EXPECT_TRUE(IsOpen(number));
}

TEST(Fd, ClosesWhatItOwnedWhenAnotherIsMovedIn) {
  const int old_number = OpenOne();
  const int new_number = OpenOne();
  Fd fd(old_number);
  fd = Fd(new_number);
  EXPECT_FALSE(IsOpen(old_number));
  EXPECT_TRUE(IsOpen(new_number));
}

TEST(Fd, SurvivesBeingMovedIntoItself) {
  const int number = OpenOne();
  Fd fd(number);
  Fd& same = fd;
  fd = std::move(same);
  EXPECT_EQ(fd.get(), number);
  EXPECT_TRUE(IsOpen(number));
}

TEST(Fd, GivesUpWhatItReleases) {
  Fd fd(OpenOne());
  const Fd owner(fd.Release());
  EXPECT_FALSE(fd.valid());
  fd.Reset(-1);
  EXPECT_TRUE(IsOpen(owner.get()));
}

}  // namespace
}  // namespace linchpin
