// What a snapshot says of each kind of memory, of this process and of another.
#include "lib/memory/snapshot.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "lib/base/fd.h"
#include "lib/memory/limits.h"
#include "lib/memory/pin_limits.h"
#include "lib/memory/smaps.h"
#include "tests/testing/child.h"
#include "tests/testing/memory.h"

namespace linchpin {
namespace {

using testing::kPage;
using testing::Mapped;

constexpr std::size_t kBytes = 4 * kPage;

// A mapping of a file, unmapped at the end.
class FileMapping final {
 public:
  FileMapping(int fd, int flags, int protection = PROT_READ | PROT_WRITE,
              std::size_t bytes = kBytes)
      : bytes_(bytes), address_(mmap(nullptr, bytes, protection, flags, fd, 0)) {}
  ~FileMapping() {
    if (ok()) munmap(address_, bytes_);
  }
  FileMapping(const FileMapping&) = delete;
  FileMapping& operator=(const FileMapping&) = delete;

  bool ok() const { return address_ != MAP_FAILED; }
  Range range() const {
    const auto start = reinterpret_cast<std::uintptr_t>(address_);
    return {start, start + bytes_};
  }

 private:
  const std::size_t bytes_;
  void* const address_;
};

Fd Memfd(std::size_t bytes) {
  Fd fd(memfd_create("snapshot", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  return fd;
}

// The one piece of `range`.
MemoryPiece PieceOf(Range range, pid_t pid = 0) {
  const auto pieces = SnapshotMemory(pid, range);
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  if (!pieces.ok() || pieces->size() != 1) {
    ADD_FAILURE() << "not one piece";
    return {};
  }
  EXPECT_EQ(pieces->front().range, range);
  return pieces->front();
}

TEST(Snapshot, TellsHolesFromMemoryAndPiecesFromMappings) {
  const Mapped memory(kBytes);
  // The first look of a process maps a page of its own for good (lib/base/process.h), which would
  // lie in the hole.
  PieceOf({memory.start(), memory.start() + kBytes});
  ASSERT_EQ(munmap(memory.data() + kPage, kPage), 0);
  const Range asked{memory.start() + 100, memory.start() + kBytes - 1};
  const auto pieces = SnapshotMemory(0, asked);
  ASSERT_TRUE(pieces.ok()) << pieces.status();
  ASSERT_EQ(pieces->size(), 3u);
  EXPECT_EQ((*pieces)[0].range, (Range{asked.start, memory.start() + kPage}));
  EXPECT_EQ((*pieces)[0].target, PinTarget::kAnonymous);
  EXPECT_EQ((*pieces)[0].ToString(), "anonymous rw-");
  EXPECT_EQ((*pieces)[1].range, (Range{memory.start() + kPage, memory.start() + 2 * kPage}));
  EXPECT_EQ((*pieces)[1].target, PinTarget::kHole);
  EXPECT_EQ((*pieces)[1].ToString(), "hole");
  EXPECT_EQ((*pieces)[2].range, (Range{memory.start() + 2 * kPage, asked.end}));
  // What the destructor unmaps must be there, or be nobody else's.
  ASSERT_NE(mmap(memory.data() + kPage, kPage, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
            MAP_FAILED);
}

TEST(Snapshot, FindsTheEndOfAFileWithoutAName) {
  const Fd fd = Memfd(kPage + 1);
  const FileMapping shared(fd.get(), MAP_SHARED);
  const MemoryPiece piece = PieceOf(shared.range());
  EXPECT_EQ(piece.target, PinTarget::kShmem);
  EXPECT_EQ(piece.file.bytes, kPage + 1);
  EXPECT_EQ(piece.end_of_file, shared.range().start + 2 * kPage);
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  EXPECT_EQ(PieceOf(shared.range()).end_of_file, std::nullopt);
  const FileMapping copied(fd.get(), MAP_PRIVATE);
  EXPECT_EQ(PieceOf(copied.range()).target, PinTarget::kFilePrivate);
}

TEST(Snapshot, KnowsAFileSystemThatWritesBackFromOneThatIsMemory) {
  std::string name = "/var/tmp/linchpin-snapshot-XXXXXX";
  const Fd fd(mkostemp(name.data(), O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  struct statfs status {};
  ASSERT_EQ(fstatfs(fd.get(), &status), 0);
  const FileMapping shared(fd.get(), MAP_SHARED);
  constexpr std::uint32_t kTmpfs = 0x01021994;
  const MemoryPiece piece = PieceOf(shared.range());
  const bool is_tmpfs = static_cast<std::uint32_t>(status.f_type) == kTmpfs;
  EXPECT_EQ(piece.target, is_tmpfs ? PinTarget::kShmem : PinTarget::kFileShared);
  EXPECT_FALSE(piece.file.file_system.empty());
  EXPECT_NE(piece.ToString().find(name), std::string::npos);
  EXPECT_EQ(piece.file.bytes, kBytes);
  ASSERT_EQ(unlink(name.c_str()), 0);
  EXPECT_EQ(PieceOf(shared.range()).file.bytes, kBytes);  // By its descriptor.
}

TEST(Snapshot, KnowsTheMemoryOfDevicesFromOrdinaryOne) {
  const std::optional<Range> vvar = testing::FindMapping("[vvar]");
  if (!vvar) GTEST_SKIP() << "no [vvar] is mapped here";
  EXPECT_EQ(PieceOf(*vvar).target, PinTarget::kDevice);
  const Fd zero(open("/dev/zero", O_RDWR | O_CLOEXEC));
  const FileMapping zeros(zero.get(), MAP_PRIVATE);
  EXPECT_EQ(PieceOf(zeros.range()).target, PinTarget::kAnonymous);
}

TEST(Snapshot, KnowsSecretAndSysvMemory) {
  const int id = shmget(IPC_PRIVATE, kBytes, 0600);
  if (id >= 0) {
    void* const address = shmat(id, nullptr, 0);
    shmctl(id, IPC_RMID, nullptr);
    const auto start = reinterpret_cast<std::uintptr_t>(address);
    EXPECT_EQ(PieceOf({start, start + kBytes}).target, PinTarget::kShmem);
    shmdt(address);
  }
  const Fd fd(static_cast<int>(syscall(SYS_memfd_secret, 0)));
  if (!fd.valid() || ftruncate(fd.get(), kBytes) != 0) GTEST_SKIP() << "no memfd_secret here";
  const FileMapping secret(fd.get(), MAP_SHARED);
  if (!secret.ok()) GTEST_SKIP() << "secret memory cannot be mapped here";
  EXPECT_EQ(PieceOf(secret.range()).target, PinTarget::kSecretmem);
}

TEST(Snapshot, LooksIntoAnotherProcess) {
  const Fd fd = Memfd(kPage);
  const FileMapping shared(fd.get(), MAP_SHARED);
  const Mapped memory(kBytes);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    for (;;) pause();
  }
  ASSERT_EQ(munmap(memory.data(), kPage), 0);  // Here, not there.
  EXPECT_EQ(PieceOf({memory.start(), memory.start() + kBytes}, child).target,
            PinTarget::kAnonymous);
  const MemoryPiece piece = PieceOf(shared.range(), child);
  EXPECT_EQ(piece.target, PinTarget::kShmem);
  EXPECT_EQ(piece.end_of_file, shared.range().start + kPage);
  const PinLimits limits = ReadPinLimits(child);
  EXPECT_TRUE(limits.process.starts_with("process " + std::to_string(child) + " ("))
      << limits.process;
  EXPECT_EQ(limits.memlock_bytes, ReadPinLimits(0).memlock_bytes);
  EXPECT_EQ(limits.exempt, ReadPinLimits(0).exempt);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_FALSE(SnapshotMemory(child, shared.range()).ok());
}

TEST(Smaps, FindsTheMappingThatIsExactlyTheRange) {
  const Mapped memory(kBytes);
  const Range range{memory.start(), memory.start() + kBytes};
  const auto details = ReadSmaps(0, range);
  ASSERT_TRUE(details.has_value());
  EXPECT_EQ(details->page_size, kPage);
  EXPECT_FALSE(details->without_pages);
  EXPECT_FALSE(ReadSmaps(0, {range.start, range.end - kPage}).has_value());
}

TEST(PinLimits, AreThoseOfTheCallingThread) {
  EXPECT_EQ(testing::RunInChild([]() -> testing::Complaint {
              testing::SetLimit(RLIMIT_MEMLOCK, 65536);
              if (ReadPinLimits(0).memlock_bytes != 65536) return "not the limit that was set";
              if (!testing::DropPrivilege(1)) return "privilege is not dropped";
              return ReadPinLimits(0).exempt ? "exempt without privilege" : "";
            }),
            "");
}

TEST(PinLimits, CapabilitiesInAUserNamespaceOfOnesOwnExemptNobody) {
  const std::string complaint = testing::RunInChild([]() -> testing::Complaint {
    testing::SetLimit(RLIMIT_MEMLOCK, 65536);
    if (!testing::DropPrivilege(2)) return "privilege is not dropped";
    const std::string map = "0 " + std::to_string(geteuid()) + " 1";
    if (prctl(PR_SET_DUMPABLE, 1) != 0 || unshare(CLONE_NEWUSER) != 0) return "absent";
    if (ReadPinLimits(0).exempt || ReadMemoryLimits().memlock_exempt) return "exempt without ids";
    const Fd ids(open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC));
    if (write(ids.get(), map.data(), map.size()) < 0) return "no ids";
    return ReadPinLimits(0).exempt || ReadMemoryLimits().memlock_exempt ? "exempt with ids" : "";
  });
  if (complaint == "absent") GTEST_SKIP() << "no user namespaces for us here";
  EXPECT_EQ(complaint, "");
}

}  // namespace
}  // namespace linchpin
