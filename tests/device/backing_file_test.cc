// Leases over memory of files, in guests whose kernels differ in what they let a device pin: Sync,
// truncation by others, FS-DAX. tests/golden/run makes the file systems.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>

#include "lib/base/fd.h"
#include "linchpin/pin_file.h"
#include "tests/device/fixture.h"
#include "tests/device/truncation.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kFileBytes = 4 * kPage;

// A file of pattern 1 in the directory that the environment names, mapped shared.
class MappedFile final {
 public:
  MappedFile(const char* variable, int flags, int protection) {
    const char* const directory = std::getenv(variable);
    if (directory == nullptr) return;
    path_ = std::string(directory) + "/backing-" + std::to_string(getpid());
    std::ofstream(path_, std::ios::binary) << Pattern(1, kFileBytes);
    const Fd flushed(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (fsync(flushed.get()) != 0) return;
    fd_.Reset(open(path_.c_str(), flags | O_CLOEXEC));
    data_ = mmap(nullptr, kFileBytes, protection, MAP_SHARED, fd_.get(), 0);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    if (data_ != MAP_FAILED) munmap(data_, kFileBytes);
    if (!path_.empty()) unlink(path_.c_str());
  }
  bool valid() const { return data_ != MAP_FAILED; }
  char* data() const { return static_cast<char*>(data_); }
  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Fd fd_;
  void* data_ = MAP_FAILED;
};

class BackingFile : public DeviceFixture {
 protected:
  void SetUp() override {
    if (std::getenv("LINCHPIN_TEST_EXT4") == nullptr) {
      GTEST_SKIP() << "LINCHPIN_TEST_EXT4 names no directory: only in a guest";
    }
    DeviceFixture::SetUp();
    auto made = PinFile::Create();
    ASSERT_TRUE(made.ok()) << made.status();
    owner_ = made->file;
    holder_.Reset(made->holder_fd);
  }

  // Rights under which this kernel and device can write to a shared file; none if they cannot.
  Access WritableSomehow(const MappedFile& file, absl::Status& refusal) {
    auto pinned = cache_->Acquire(file.data(), kPage, kRemoteWritable, owner_);
    if (pinned.ok()) return kRemoteWritable;
    refusal = pinned.status();
    const Access on_demand = kRemoteWritable | Access::kOnDemand;
    auto faulted = cache_->Acquire(file.data(), kPage, on_demand, owner_);
    return faulted.ok() ? on_demand : Access::kLocalRead;
  }

  // Whether the disk of the file system has these bytes anywhere.
  static bool IsOnDisk(const std::string& bytes) {
    const std::filesystem::path disk = "/dev/shm/golden-ext4";
    std::string all(std::filesystem::file_size(disk), '\0');
    std::ifstream(disk, std::ios::binary)
        .read(all.data(), static_cast<std::streamsize>(all.size()));
    return memmem(all.data(), all.size(), bytes.data(), bytes.size()) != nullptr;
  }

  std::shared_ptr<PinFile> owner_;
  Fd holder_;
};

TEST_F(BackingFile, WhatADeviceWroteIsOnTheDiskAfterSync) {
  const MappedFile file("LINCHPIN_TEST_EXT4", O_RDWR, PROT_READ | PROT_WRITE);
  ASSERT_TRUE(file.valid());
  absl::Status refusal;
  const Access rights = WritableSomehow(file, refusal);
  std::cout << "pinned for writing: " << (refusal.ok() ? "yes" : refusal.ToString()) << "\n";
  if (!refusal.ok()) {
    EXPECT_TRUE(absl::IsFailedPrecondition(refusal));
    EXPECT_THAT(std::string(refusal.message()), HasSubstr(file.path())) << "not explained";
  }
  if (!Any(rights)) return;  // It can be reached in no way, and that was said.
  auto lease = cache_->Acquire(file.data(), kPage, rights, owner_);
  ASSERT_TRUE(lease.ok()) << lease.status();
  std::string written = Pattern(99, kPage);
  std::reverse(written.begin(), written.end());  // One seed's bytes are another's, moved.
  const auto sent =
      courier_->Send(written, {reinterpret_cast<std::uintptr_t>(file.data()), lease->rkey()});
  ASSERT_TRUE(sent.ok() && *sent == Completion::kSuccess) << sent.status();
  lease->MarkDirty(lease->range());
  EXPECT_TRUE(absl::IsFailedPrecondition(owner_->Sync())) << "it is held";
  EXPECT_FALSE(IsOnDisk(written)) << "then Sync proves nothing";
  *lease = Lease();
  ASSERT_TRUE(owner_->Sync().ok());
  EXPECT_TRUE(IsOnDisk(written));
}

TEST_F(BackingFile, ATruncationElsewhereWaitsForTheEndOfThePins) {
  const MappedFile file("LINCHPIN_TEST_EXT4", O_RDONLY, PROT_READ);
  ASSERT_TRUE(file.valid());
  const std::uint64_t before = PinnedBytes();
  auto guard = BackingGuard::Create(file.fd(), BackingGuard::Kind::kLease);
  ASSERT_TRUE(guard.ok()) << guard.status();
  auto made = PinFile::Create({.grace = absl::Milliseconds(200), .guard = *guard});
  ASSERT_TRUE(made.ok()) << made.status();
  const Fd holder(made->holder_fd);
  auto held = cache_->Acquire(file.data(), kFileBytes, Access::kRemoteRead, made->file);
  if (!held.ok()) {  // 6.1 reads through a mapping that it must be able to write.
    EXPECT_THAT(std::string(held.status().message()), HasSubstr(file.path()));
    GTEST_SKIP() << held.status();
  }
  ExpectTruncationAfterThePins(file.path(), *held, before);
}

TEST_F(BackingFile, FsDaxIsRefusedWithWhatToDo) {
  const MappedFile file("LINCHPIN_TEST_DAX", O_RDWR, PROT_READ | PROT_WRITE);
  if (!file.valid()) GTEST_SKIP() << "no FS-DAX here";
  const auto lease = cache_->Acquire(file.data(), kPage, kWrite);
  EXPECT_EQ(lease.status().code(), absl::StatusCode::kUnimplemented) << lease.status();
  EXPECT_THAT(std::string(lease.status().message()), HasSubstr("DAX"));
  std::cout << lease.status() << "\n";
}

}  // namespace
}  // namespace linchpin::testing
