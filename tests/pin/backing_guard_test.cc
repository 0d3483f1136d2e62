// Tests of the guards: what each keeps others from doing to a file with pins, and what it refuses.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "lib/base/fd.h"
#include "linchpin/pin_file.h"
#include "tests/pin/pin_file_client.h"
#include "tests/testing/child.h"
#include "tests/testing/pins.h"
#include "tests/testing/threads.h"

namespace linchpin {
namespace {

using testing::Complaint;
using testing::FakeClient;
using ::testing::HasSubstr;
using testing::Owner;
using testing::RunInChild;
using testing::WaitFor;
using Kind = BackingGuard::Kind;

constexpr off_t kBytes = 16384;

// A file in a folder of its own, 16 KiB long.
class BackingGuardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = ::testing::TempDir() + "linchpin-guard-XXXXXX";
    const Fd made(mkostemp(name.data(), O_CLOEXEC));
    ASSERT_TRUE(made.valid());
    path_ = name;
    ASSERT_EQ(ftruncate(made.get(), kBytes), 0);
  }
  void TearDown() override { unlink(path_.c_str()); }

  Fd Open(int flags) const { return Fd(open(path_.c_str(), flags | O_CLOEXEC)); }
  std::shared_ptr<BackingGuard> Guard(const Fd& fd, Kind kind) {
    auto guard = BackingGuard::Create(fd.get(), kind);
    if (absl::IsFailedPrecondition(guard.status()) &&
        guard.status().message().find("has none") != absl::string_view::npos) {
      return nullptr;
    }
    EXPECT_TRUE(guard.ok()) << guard.status().ToString();
    return guard.ok() ? *std::move(guard) : nullptr;
  }

  std::string path_;
};

Fd Memfd(unsigned flags) {
  Fd fd(memfd_create("guarded", MFD_CLOEXEC | flags));
  EXPECT_EQ(ftruncate(fd.get(), kBytes), 0);
  return fd;
}

// Does `body` in another process, which this one does not wait for. Its exit status is 0 if `body`
// returned true.
class Other {
 public:
  explicit Other(const std::function<bool()>& body) : pid_(fork()) {
    if (pid_ != 0) return;
    alarm(60);
    _exit(body() ? 0 : 1);
  }
  Other(const Other&) = delete;
  Other& operator=(const Other&) = delete;
  ~Other() {
    if (!ended_) waitpid(pid_, nullptr, 0);
  }
  bool HasEnded() {
    if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
    return ended_;
  }
  bool succeeded() const { return WIFEXITED(status_) && WEXITSTATUS(status_) == 0; }

 private:
  pid_t pid_;
  bool ended_ = false;
  int status_ = 0;
};

absl::Status RefusalOf(int fd, Kind kind) {
  return BackingGuard::Create(fd, kind).status();
}

TEST_F(BackingGuardTest, ASealKeepsEverybodyFromTakingPages) {
  const Fd fd = Memfd(MFD_ALLOW_SEALING);
  void* const mapped = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  auto guard = BackingGuard::Create(fd.get(), Kind::kSeal);
  ASSERT_TRUE(guard.ok()) << guard.status().ToString();
  struct stat info {};
  ASSERT_EQ(fstat(fd.get(), &info), 0);
  EXPECT_EQ((*guard)->device(), info.st_dev);
  EXPECT_EQ((*guard)->inode(), info.st_ino);
  EXPECT_EQ(ftruncate(fd.get(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  EXPECT_EQ(errno, EPERM);
  *static_cast<char*>(mapped) = 'x';  // What was mapped before stays writable.
  munmap(mapped, kBytes);
  EXPECT_TRUE((*guard)->holds());
  // Another guard of a file that is sealed already.
  EXPECT_TRUE(BackingGuard::Create(fd.get(), Kind::kSeal).ok());
}

TEST_F(BackingGuardTest, WhatCannotBeSealedIsRefusedWithTheReason) {
  const Fd unsealable = Memfd(0);
  absl::Status refused = RefusalOf(unsealable.get(), Kind::kSeal);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused.ToString();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("MFD_ALLOW_SEALING"));
  const Fd sealed = Memfd(MFD_ALLOW_SEALING);
  ASSERT_EQ(fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_SEAL), 0);
  refused = RefusalOf(sealed.get(), Kind::kSeal);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused.ToString();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("F_SEAL_SEAL"));
  const Fd regular = Open(O_RDWR);
  EXPECT_TRUE(absl::IsFailedPrecondition(RefusalOf(regular.get(), Kind::kSeal)));
  EXPECT_EQ(fcntl(unsealable.get(), F_GET_SEALS), F_SEAL_SEAL);  // Untouched.
}

TEST_F(BackingGuardTest, OnlyOpenRegularFilesCanBeGuarded) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd reader(ends[0]);
  const Fd writer(ends[1]);
  const Fd path = Open(O_PATH);
  for (const Kind kind : {Kind::kNone, Kind::kSeal, Kind::kLease}) {
    EXPECT_TRUE(absl::IsInvalidArgument(RefusalOf(-1, kind)));
    EXPECT_TRUE(absl::IsInvalidArgument(RefusalOf(reader.get(), kind)));
    EXPECT_TRUE(absl::IsInvalidArgument(RefusalOf(path.get(), kind)));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(RefusalOf(path.get(), static_cast<Kind>(7))));
}

TEST_F(BackingGuardTest, ATruncationElsewhereWaitsUntilThePinsAreGone) {
  const Fd fd = Open(O_RDONLY);
  auto guard = Guard(fd, Kind::kLease);
  if (guard == nullptr) GTEST_SKIP() << "no file leases in " << path_;
  const Owner held = Owner({.grace = absl::InfiniteDuration(), .guard = guard});
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  EXPECT_TRUE(internal::PinFileCore::Of(*held.file)->Guards(guard->device(), guard->inode()));
  Other other([this] { return truncate(path_.c_str(), 0) == 0; });
  ASSERT_TRUE(WaitFor("truncation to closing", [&] { return client.closings == 1; }));
  EXPECT_FALSE(guard->holds());
  EXPECT_FALSE(internal::PinFileCore::Of(*held.file)->Guards(guard->device(), guard->inode()));
  EXPECT_TRUE(absl::IsFailedPrecondition(client.Begin(*held.file)));
  EXPECT_FALSE(other.HasEnded());
  struct stat info {};
  ASSERT_EQ(fstat(fd.get(), &info), 0);
  EXPECT_EQ(info.st_size, kBytes);
  client.EndAll();  // Nothing else lets the truncation go on.
  EXPECT_TRUE(WaitFor("last claim to truncated", [&] { return other.HasEnded(); }));
  EXPECT_TRUE(other.succeeded());
  ASSERT_EQ(fstat(fd.get(), &info), 0);
  EXPECT_EQ(info.st_size, 0);
}

TEST_F(BackingGuardTest, WithoutGraceATruncationElsewhereRevokesAtOnce) {
  const Fd fd = Open(O_RDONLY);
  auto guard = Guard(fd, Kind::kLease);
  if (guard == nullptr) GTEST_SKIP() << "no file leases in " << path_;
  const Owner held = Owner({.guard = guard});
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  Other other([this] { return truncate(path_.c_str(), 0) == 0; });
  EXPECT_TRUE(WaitFor("truncation to truncated", [&] { return other.HasEnded(); }));
  EXPECT_EQ(client.revocations, 1);
  EXPECT_TRUE(held.file->revoked());
}

TEST_F(BackingGuardTest, TheSoleOpenerMayGuardWhatItWrites) {
  const Fd fd = Open(O_RDWR);
  auto guard = Guard(fd, Kind::kLease);
  if (guard == nullptr) GTEST_SKIP() << "no file leases in " << path_;
  const Owner held = Owner({.guard = guard});
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  Other other([this] { return Open(O_RDONLY).valid(); });  // Reading is enough to break it.
  EXPECT_TRUE(WaitFor("open elsewhere to opened", [&] { return other.HasEnded(); }));
  EXPECT_EQ(client.revocations, 1);
}

TEST_F(BackingGuardTest, ATruncationByACopyOfTheOpenFileIsNotStopped) {
  const Fd fd = Open(O_RDWR);
  auto guard = Guard(fd, Kind::kLease);
  if (guard == nullptr) GTEST_SKIP() << "no file leases in " << path_;
  EXPECT_EQ(ftruncate(fd.get(), 0), 0);
  EXPECT_TRUE(guard->holds());
}

TEST_F(BackingGuardTest, FilesThatOthersHaveOpenAreRefused) {
  const Fd writer = Open(O_RDWR);
  const Fd reader = Open(O_RDONLY);
  absl::Status refused = RefusalOf(reader.get(), Kind::kLease);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused.ToString();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("open or mapped for writing"));
  refused = RefusalOf(writer.get(), Kind::kLease);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused.ToString();
  EXPECT_THAT(std::string(refused.message()), HasSubstr("others have too"));
  f_owner_ex owner{};
  EXPECT_EQ(fcntl(reader.get(), F_GETOWN_EX, &owner), 0);
  EXPECT_EQ(owner.pid, 0);  // As it was.
}

TEST_F(BackingGuardTest, AnOpenFileWithAnOwnerOrALeaseIsRefused) {
  const Fd owned = Open(O_RDONLY);
  ASSERT_EQ(fcntl(owned.get(), F_SETOWN, getpid()), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(RefusalOf(owned.get(), Kind::kLease)));
  EXPECT_EQ(fcntl(owned.get(), F_GETOWN), getpid());
  const Fd leased = Open(O_RDONLY);
  auto guard = Guard(leased, Kind::kLease);
  if (guard == nullptr) GTEST_SKIP() << "no file leases in " << path_;
  EXPECT_TRUE(absl::IsFailedPrecondition(RefusalOf(leased.get(), Kind::kLease)));
}

TEST_F(BackingGuardTest, AnotherUsersFileCannotBeLeased) {
  const Fd fd = Open(O_RDONLY);
  if (geteuid() != 0) GTEST_SKIP() << "needs another user's file";
  testing::AwaitSleepOfOtherThreads();
  EXPECT_EQ(RunInChild([&]() -> Complaint {
              if (!testing::DropPrivilege(3)) return "cannot drop privilege";
              const absl::Status refused = RefusalOf(fd.get(), Kind::kLease);
              return absl::IsPermissionDenied(refused) ? "" : refused.ToString();
            }),
            "");
}

TEST_F(BackingGuardTest, AGuardThatNobodyTookLetsGoAtOnce) {
  const Fd fd = Open(O_RDONLY);
  auto guard = Guard(fd, Kind::kLease);
  if (guard == nullptr) GTEST_SKIP() << "no file leases in " << path_;
  Other other([this] { return truncate(path_.c_str(), 0) == 0; });
  EXPECT_TRUE(WaitFor("truncation to truncated", [&] { return other.HasEnded(); }));
  EXPECT_FALSE(guard->holds());
  const auto refused = PinFile::Create({.guard = guard});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status()));
}

TEST_F(BackingGuardTest, OneThatIsDestroyedLeavesTheFileAsItWas) {
  const Fd fd = Open(O_RDONLY);
  auto guard = Guard(fd, Kind::kLease);
  if (guard == nullptr) GTEST_SKIP() << "no file leases in " << path_;
  guard.reset();
  EXPECT_EQ(fcntl(fd.get(), F_GETLEASE), F_UNLCK);
  EXPECT_EQ(fcntl(fd.get(), F_GETOWN), 0);
  EXPECT_EQ(fcntl(fd.get(), F_GETSIG), 0);
  EXPECT_EQ(truncate(path_.c_str(), 0), 0);  // Waits for nobody.
}

TEST_F(BackingGuardTest, AGuardBelongsToOnePinFile) {
  const Fd fd = Open(O_RDONLY);
  auto guard = BackingGuard::Create(fd.get(), Kind::kNone);
  ASSERT_TRUE(guard.ok());
  const Owner held = Owner({.guard = *guard});
  EXPECT_EQ(held.file->guard(), *guard);
  const auto refused = PinFile::Create({.guard = *guard});
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status().ToString();
}

TEST_F(BackingGuardTest, WithoutAGuardATruncationIsNeitherStoppedNorHeard) {
  const Fd fd = Open(O_RDONLY);
  auto guard = BackingGuard::Create(fd.get(), Kind::kNone);
  ASSERT_TRUE(guard.ok());
  const Owner held = Owner({.guard = *guard});
  EXPECT_EQ(truncate(path_.c_str(), 0), 0);
  EXPECT_TRUE((*guard)->holds());
  EXPECT_TRUE(held.file->alive());
}

// The application's own lease, handled by a handler of its own for another signal, goes on working,
// and its handlers are never run for ours.
std::atomic<int> handled{0};

TEST_F(BackingGuardTest, NoSignalHandlerOfTheApplicationIsRun) {
  struct sigaction action {};
  action.sa_handler = [](int) { ++handled; };
  std::array<struct sigaction, NSIG> before{};
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal == SIGCHLD) continue;
    sigaction(signal, &action, &before[static_cast<std::size_t>(signal)]);
  }
  {
    const Fd fd = Open(O_RDONLY);
    auto guard = Guard(fd, Kind::kLease);
    const Owner held = guard == nullptr ? Owner() : Owner({.guard = guard});
    if (guard != nullptr) {
      Other other([this] { return truncate(path_.c_str(), 0) == 0; });
      EXPECT_TRUE(WaitFor("truncation to truncated", [&] { return other.HasEnded(); }));
    }
  }
  for (int signal = 1; signal < NSIG; ++signal) {
    if (signal == SIGCHLD) continue;
    sigaction(signal, &before[static_cast<std::size_t>(signal)], nullptr);
  }
  EXPECT_EQ(handled, 0);
}

TEST_F(BackingGuardTest, InAForkedChildAGuardIsInert) {
  const Fd fd = Open(O_RDONLY);
  auto guard = Guard(fd, Kind::kLease);
  if (guard == nullptr) GTEST_SKIP() << "no file leases in " << path_;
  EXPECT_EQ(RunInChild([&]() -> Complaint {
              if (guard->holds()) return "holds";
              guard.reset();
              return "";
            }),
            "");
  EXPECT_TRUE(guard->holds());
}

}  // namespace
}  // namespace linchpin
