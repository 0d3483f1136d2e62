// Tests of Sync: what was written by a device reaches the file, or the reason is said.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "lib/base/fd.h"
#include "linchpin/pin.h"
#include "tests/pin/pin_file_client.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/fake_registrar.h"

namespace linchpin {
namespace {

using testing::FakeClient;
using testing::FakeRegistrar;
using ::testing::HasSubstr;
using testing::kPage;
using testing::LoopbackTest;
using testing::Owner;

// A shared writable mapping of a file on a file system that writes its pages back, if the folder
// for temporary files is on one.
class FileMapping final {
 public:
  explicit FileMapping(int flags = MAP_SHARED) {
    std::string name = ::testing::TempDir() + "linchpin-sync-XXXXXX";
    fd_ = Fd(mkostemp(name.data(), O_CLOEXEC));
    unlink(name.c_str());
    EXPECT_EQ(ftruncate(fd_.get(), kBytes), 0);
    data_ = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags, fd_.get(), 0);
    EXPECT_NE(data_, MAP_FAILED);
  }
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;
  ~FileMapping() { Unmap(); }
  void Unmap() {
    if (data_ != nullptr) munmap(std::exchange(data_, nullptr), kBytes);
  }
  Range range() const {
    const auto start = reinterpret_cast<std::uintptr_t>(data_);
    return {start, start + kBytes};
  }
  int fd() const { return fd_.get(); }

 private:
  static constexpr std::size_t kBytes = 4 * kPage;
  Fd fd_;
  void* data_ = nullptr;
};

TEST(PinFileSync, WithNothingDirtyThereIsNothingToDo) {
  const Owner held = Owner();
  FakeClient client;
  ASSERT_TRUE(client.Begin(*held.file).ok());
  EXPECT_TRUE(held.file->Sync().ok());
  EXPECT_EQ(client.syncs, 1);
  client.EndAll();
  EXPECT_TRUE(held.file->Sync().ok());
  EXPECT_EQ(client.syncs, 1);  // It has nothing of the file any more.
}

TEST(PinFileSync, WhatIsHeldIsNamedAndTheRestIsWritten) {
  const FileMapping file;
  const Owner held = Owner({.name = "store"});
  FakeClient client;
  const Range range = file.range();
  client.dirty_on_sync = {{range.start + 10, range.start + 20}};
  client.held_on_sync = {{range.start + kPage, range.start + kPage + 8}};
  ASSERT_TRUE(client.Begin(*held.file).ok());
  const absl::Status refused = held.file->Sync();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused.ToString();
  EXPECT_THAT(std::string(refused.message()), HasSubstr(client.held_on_sync[0].ToString()));
  client.held_on_sync.clear();
  EXPECT_TRUE(held.file->Sync().ok());
  client.EndAll();
}

TEST(PinFileSync, ADirtyPinIsSyncedOnceItHasEnded) {
  const FileMapping file;
  const Owner held = Owner();
  auto registrar = std::make_shared<FakeRegistrar>();
  PinRequest request;
  request.range = file.range();
  request.rights = Access::kLocalWrite;
  request.file = held.file;
  auto pin = PinVaddr(registrar, request);
  ASSERT_TRUE(pin.ok()) << pin.status().ToString();
  pin->MarkDirty(request.range);
  EXPECT_TRUE(absl::IsFailedPrecondition(held.file->Sync()));
  *pin = VaddrPin();
  EXPECT_EQ(registrar->registered_count(), 0U);
  EXPECT_TRUE(held.file->Sync().ok());
}

TEST(PinFileSync, ARevokedPinLeavesItsDirtyRangesToSync) {
  FileMapping file;
  const Owner held = Owner();
  PinRequest request;
  request.range = file.range();
  request.rights = Access::kLocalWrite;
  request.file = held.file;
  auto pin = PinVaddr(std::make_shared<FakeRegistrar>(), request);
  ASSERT_TRUE(pin.ok()) << pin.status().ToString();
  pin->MarkDirty(request.range);
  ASSERT_TRUE(held.file->Revoke(absl::ZeroDuration()).ok());
  file.Unmap();  // So that Sync says whether it knew of them.
  const absl::Status unmapped = held.file->Sync();
  EXPECT_TRUE(absl::IsFailedPrecondition(unmapped)) << unmapped.ToString();
  EXPECT_THAT(std::string(unmapped.message()), HasSubstr("unmapped before they were synced"));
  EXPECT_TRUE(held.file->Sync().ok());  // Said once: it is the kernel's to write them now.
}

TEST(PinFileSync, AGuardSyncsWhatIsNotMappedAnyMore) {
  FileMapping file;
  auto guard = BackingGuard::Create(file.fd(), BackingGuard::Kind::kNone);
  ASSERT_TRUE(guard.ok()) << guard.status().ToString();
  const Owner held = Owner({.guard = *guard});
  FakeClient client;
  client.dirty_on_sync = {file.range()};
  ASSERT_TRUE(client.Begin(*held.file).ok());
  file.Unmap();
  EXPECT_TRUE(held.file->Sync().ok());
  client.EndAll();
}

class PinFileSyncDevice : public LoopbackTest {};

// The loopback device gets no such pins: Linux 6.1 gives them to RDMA devices, but its io_uring
// answers EOPNOTSUPP; newer kernels give them to nobody (EFAULT), and the rules say why.
TEST_F(PinFileSyncDevice, WhatADeviceWroteToASharedFileReachesItOrThePinIsRefused) {
  const FileMapping file;
  const Owner held = Owner();
  PinRequest request;
  request.range = file.range();
  request.rights = testing::kAllRights;
  request.file = held.file;
  auto pin = PinVaddr(device_, request);
  if (!pin.ok()) {
    const absl::Status& refusal = pin.status();
    if (!absl::IsUnimplemented(refusal)) {
      EXPECT_TRUE(absl::IsFailedPrecondition(refusal)) << refusal.ToString();
      EXPECT_THAT(std::string(refusal.message()), HasSubstr("shared file"));
    }
    GTEST_SKIP() << "this kernel refuses it: " << pin.status().ToString();
  }
  const testing::Mapped source(kPage);
  testing::FillRandomly({source.data(), kPage}, 1);
  Registration local = Register(source);
  ASSERT_EQ(Write(Local(local, 0, kPage), RemoteExtent{request.range.start, pin->rkey()}),
            Completion::kSuccess);
  pin->MarkDirty({request.range.start, request.range.start + kPage});
  *pin = VaddrPin();
  EXPECT_TRUE(held.file->Sync().ok());
  std::string read(kPage, '\0');
  ASSERT_EQ(pread(file.fd(), read.data(), read.size(), 0), static_cast<ssize_t>(kPage));
  EXPECT_EQ(read, testing::Text(source.data(), kPage));
  EXPECT_TRUE(device_->Deregister(local).ok());
}

}  // namespace
}  // namespace linchpin
