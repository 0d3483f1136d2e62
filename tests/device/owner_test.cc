// Leases that belong to a PinFile, on a device: what it and its peers can still reach when the life
// of the file has ended, and that its pins are gone.
#include "tests/testing/owner.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

#include "lib/base/fd.h"
#include "linchpin/pin_file.h"
#include "tests/device/fixture.h"
#include "tests/device/truncation.h"
#include "tests/testing/threads.h"

namespace linchpin::testing {
namespace {

class OwnerOnDevice : public DeviceFixture {
 protected:
  Lease GetFor(const Owner& owner, const void* address, std::size_t length, Access access) {
    auto lease = cache_->Acquire(address, length, access, owner.file);
    EXPECT_TRUE(lease.ok()) << lease.status();
    return lease.ok() ? *std::move(lease) : Lease();
  }

  Completion SendTo(const Mapped& memory, std::uint32_t rkey) {
    const auto done = courier_->Send(Pattern(7, 64), {memory.start(), rkey});
    EXPECT_TRUE(done.ok()) << done.status();
    return done.value_or(Completion::kGeneralError);
  }

  // A child with a copy of `holder`, which it keeps open until it is killed.
  static pid_t HoldInChild(const Fd& holder) {
    AwaitSleepOfOtherThreads();
    const pid_t child = fork();
    if (child != 0) return child;
    alarm(60);
    static_cast<void>(holder.valid());
    for (;;) pause();
  }
  static void Kill(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
};

TEST_F(OwnerOnDevice, WhenTheLastHolderIsKilledItsKeysAreDeadAndItsPinsGone) {
  const std::uint64_t before = PinnedBytes();
  const Mapped memory(16 * kPage);
  Owner owner;
  const Lease local = GetFor(owner, memory.data(), 16 * kPage, kWrite);
  const Lease remote = GetFor(owner, memory.data(), 64, kRemoteWritable);
  EXPECT_GE(PinnedBytes(), before + 17 * kPage);
  EXPECT_EQ(SendTo(memory, remote.rkey()), Completion::kSuccess);
  const pid_t child = HoldInChild(owner.holder);
  owner.holder.Reset(-1);
  EXPECT_EQ(SendTo(memory, remote.rkey()), Completion::kSuccess) << "the child still holds it";
  Kill(child);
  EXPECT_TRUE(WaitFor("VmPin back", [&] { return PinnedBytes() == before; }));
  EXPECT_TRUE(local.revoked() && remote.revoked());
  EXPECT_EQ(SendTo(memory, remote.rkey()), Completion::kRemoteAccessError);
  const auto carried = courier_->Carry(memory.data(), 64, local.lkey());
  EXPECT_FALSE(carried.ok()) << "the device read through a dead key";
}

TEST_F(OwnerOnDevice, RevokingOneLeavesTheOtherReachable) {
  const Mapped memory(kPage);
  Owner first;
  Owner second;
  const Lease gone = GetFor(first, memory.data(), 64, kRemoteWritable);
  const Lease stays = GetFor(second, memory.data(), 64, kRemoteWritable);
  const Lease local = GetFor(second, memory.data(), kPage, kRead);
  { const Lease shared = GetFor(first, memory.data(), kPage, kRead); }
  EXPECT_NE(gone.rkey(), stays.rkey());
  EXPECT_TRUE(first.file->Close().ok());
  EXPECT_EQ(SendTo(memory, gone.rkey()), Completion::kRemoteAccessError);
  EXPECT_EQ(SendTo(memory, stays.rkey()), Completion::kSuccess);
  const auto carried = courier_->Carry(memory.data(), 64, local.lkey());
  ASSERT_TRUE(carried.ok()) << carried.status();
  EXPECT_EQ(*carried, Pattern(7, 64));
  EXPECT_EQ(stays.state(), LeaseState::kValid);
  EXPECT_TRUE(second.file->Close().ok());
  EXPECT_EQ(SendTo(memory, stays.rkey()), Completion::kRemoteAccessError) << "left open";
}

TEST_F(OwnerOnDevice, TheGraceTimeIsKept) {
  const Mapped memory(kPage);
  Owner owner({.grace = absl::Hours(1)});
  Lease remote = GetFor(owner, memory.data(), 64, kRemoteWritable);
  const std::uint32_t rkey = remote.rkey();
  owner.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("its end", [&] { return !owner.file->alive(); }));
  EXPECT_EQ(SendTo(memory, rkey), Completion::kSuccess);
  remote = Lease();
  EXPECT_TRUE(WaitFor("deregistered", [&] { return cache_->stats().regions == 0; }));
  EXPECT_EQ(SendTo(memory, rkey), Completion::kRemoteAccessError);
}

TEST_F(OwnerOnDevice, ManyOwnersComeAndGo) {
  constexpr int kOwners = 200;
  const std::uint64_t before = PinnedBytes();
  const Mapped memory(kPage);
  std::vector<Owner> owners(kOwners);
  std::vector<Lease> leases;
  leases.reserve(2 * kOwners);
  for (const Owner& owner : owners) {
    leases.push_back(GetFor(owner, memory.data(), 64, kRemoteWritable));
    leases.push_back(GetFor(owner, memory.data(), kPage, kWrite));
  }
  for (Owner& owner : owners) owner.holder.Reset(-1);
  EXPECT_TRUE(WaitFor("VmPin back", [&] { return PinnedBytes() == before; }));
  for (const Lease& lease : leases) EXPECT_TRUE(lease.revoked());
}

// A file in memory, which every device can pin for writing, opened and mapped by nobody else.
class GuardedFile final {
 public:
  explicit GuardedFile(std::size_t bytes) : bytes_(bytes) {
    path_ = "/dev/shm/linchpin-owner-test-" + std::to_string(getpid());
    fd_.Reset(open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd_.valid() || ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) return;
    data_ = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  }
  GuardedFile(const GuardedFile&) = delete;
  GuardedFile& operator=(const GuardedFile&) = delete;
  ~GuardedFile() {
    if (data_ != MAP_FAILED) munmap(data_, bytes_);
    unlink(path_.c_str());
  }
  bool valid() const { return data_ != MAP_FAILED; }
  void* data() const { return data_; }
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

 private:
  const std::size_t bytes_;
  std::string path_;
  Fd fd_;
  void* data_ = MAP_FAILED;
};

TEST_F(OwnerOnDevice, ATruncationElsewhereProceedsWhenThePinsAreGone) {
  const std::uint64_t before = PinnedBytes();
  const GuardedFile file(4 * kPage);
  ASSERT_TRUE(file.valid());
  auto guard = BackingGuard::Create(file.fd(), BackingGuard::Kind::kLease);
  if (!guard.ok()) GTEST_SKIP() << guard.status();
  Owner owner({.guard = *std::move(guard)});
  { EXPECT_TRUE(GetFor(owner, file.data(), kPage, kWrite).cached()) << "kept, being guarded"; }
  const Lease held = GetFor(owner, file.data(), 4 * kPage, kWrite);
  EXPECT_GT(PinnedBytes(), before);
  ExpectTruncationAfterThePins(file.path(), held, before);
}

}  // namespace
}  // namespace linchpin::testing
