// Each kind of mapping, made for real and looked up both ways: by PROCMAP_QUERY and from the text.
#include "lib/memory/procmap.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>

#include "lib/base/fd.h"

namespace linchpin {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kBytes = 16 * kPage;
constexpr std::size_t kHuge = std::size_t{2} << 20;

// The end may differ by a growth in between: the heap is malloc's, and the stack is used.
void ExpectSame(const Mapping& query, const Mapping& text) {
  const bool grows = text.name == "[heap]" || text.name == "[stack]";
  if (!grows) {
    EXPECT_EQ(query.range, text.range);
  }
  EXPECT_STREQ(ToString(query.kind), ToString(text.kind));
  EXPECT_EQ(query.protection, text.protection);
  EXPECT_EQ(query.shared, text.shared);
  EXPECT_EQ(query.page_size, text.page_size);
  EXPECT_EQ(query.device, text.device);
  EXPECT_EQ(query.inode, text.inode);
  EXPECT_EQ(query.offset, text.offset);
  EXPECT_EQ(query.name, text.name);
}

// Looks `address` up both ways, expects the same and the kind.
Mapping LookUpBoth(const void* address, MappingKind kind) {
  MappingReader best(MappingReader::Source::kBest);
  MappingReader text(MappingReader::Source::kText);
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const auto by_query = best.LookUp(at);
  const auto by_text = text.LookUp(at);
  EXPECT_TRUE(by_query.ok()) << by_query.status();
  EXPECT_TRUE(by_text.ok()) << by_text.status();
  if (!by_query.ok() || !by_text.ok()) return {};
  ExpectSame(*by_query, *by_text);
  EXPECT_STREQ(ToString(by_query->kind), ToString(kind)) << by_query->name;
  return *by_query;
}

// A mapping with nothing on either side, so that it has no neighbour to be joined with, at an
// address that nobody else is given: the kernel fills holes from the top of the address space.
class Mapped final {
 public:
  Mapped(int protection, int flags, int fd, std::size_t bytes = kBytes) : bytes_(bytes) {
    static std::uintptr_t next = 0x30000000;
    address_ =
        mmap(reinterpret_cast<void*>(next), bytes, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
    next += bytes / kHuge * kHuge + 2 * kHuge;
  }
  ~Mapped() {
    if (ok()) munmap(address_, bytes_);
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;

  bool ok() const { return address_ != MAP_FAILED; }
  void* address() const { return address_; }
  Range range() const {
    const auto start = reinterpret_cast<std::uintptr_t>(address_);
    return {start, start + bytes_};
  }

 private:
  std::size_t bytes_;
  void* address_;
};

TEST(MappingReader, FindsPrivateAnonymousMemoryAndItsRights) {
  const Mapped memory(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  ASSERT_TRUE(memory.ok());
  const Mapping mapping = LookUpBoth(memory.address(), MappingKind::kAnonymous);
  EXPECT_EQ(mapping.range, memory.range());
  EXPECT_EQ(mapping.protection, PROT_READ | PROT_WRITE);
  EXPECT_EQ(mapping.page_size, kPage);
  EXPECT_FALSE(mapping.shared);
}

TEST(MappingReader, FindsTheHeap) {
  const void* const grown = sbrk(kPage);  // Sanitizers have no heap there by themselves.
  EXPECT_EQ(LookUpBoth(grown, MappingKind::kAnonymous).name, "[heap]");
}

TEST(MappingReader, FindsTheStack) {
  const int local = 0;
  LookUpBoth(&local, MappingKind::kAnonymous);
}

TEST(MappingReader, FindsNamedAnonymousMemory) {
  const Mapped memory(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  ASSERT_TRUE(memory.ok());
  constexpr int kSetVma = 0x53564d41;
  if (prctl(kSetVma, 0, memory.address(), kBytes, "linchpin") != 0) {
    GTEST_SKIP() << "the kernel has no CONFIG_ANON_VMA_NAME";
  }
  EXPECT_EQ(LookUpBoth(memory.address(), MappingKind::kAnonymous).name, "[anon:linchpin]");
}

TEST(MappingReader, FindsSharedAnonymousMemory) {
  const Mapped memory(PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1);
  ASSERT_TRUE(memory.ok());
  EXPECT_TRUE(LookUpBoth(memory.address(), MappingKind::kShmem).shared);
}

TEST(MappingReader, FindsAMemfdSharedAndPrivate) {
  const Fd fd(memfd_create("linchpin test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  const Mapped shared(PROT_READ | PROT_WRITE, MAP_SHARED, fd.get());
  const Mapped privately(PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get());
  ASSERT_TRUE(shared.ok() && privately.ok());
  EXPECT_EQ(LookUpBoth(shared.address(), MappingKind::kShmem).name,
            "/memfd:linchpin test (deleted)");
  LookUpBoth(privately.address(), MappingKind::kFilePrivate);
}

TEST(MappingReader, FindsFilesEvenDeletedOnesWithNewlinesInTheirNames) {
  std::string path = "/var/tmp/linchpin\nfile\n-XXXXXX";
  const Fd fd(mkstemp(path.data()));
  ASSERT_TRUE(fd.valid());
  ASSERT_EQ(ftruncate(fd.get(), 2 * kBytes), 0);
  {
    const Mapped shared(PROT_READ | PROT_WRITE, MAP_SHARED, fd.get());
    const Mapped privately(PROT_READ, MAP_PRIVATE, fd.get());
    ASSERT_TRUE(shared.ok() && privately.ok());
    EXPECT_EQ(LookUpBoth(shared.address(), MappingKind::kFileShared).name, path);
    LookUpBoth(privately.address(), MappingKind::kFilePrivate);
  }
  unlink(path.c_str());
  const Mapped deleted(PROT_READ, MAP_SHARED, fd.get());
  EXPECT_EQ(LookUpBoth(deleted.address(), MappingKind::kFileShared).name, path + " (deleted)");
}

TEST(MappingReader, FindsAFileWithALongName) {
  std::string path = "/var/tmp/" + std::string(240, 'x') + "XXXXXX";
  const Fd fd(mkstemp(path.data()));
  ASSERT_TRUE(fd.valid());
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  unlink(path.c_str());
  const Mapped memory(PROT_READ, MAP_SHARED, fd.get());
  EXPECT_EQ(LookUpBoth(memory.address(), MappingKind::kFileShared).name, path + " (deleted)");
}

TEST(MappingReader, GivesTheOffsetInTheFile) {
  const Fd fd(memfd_create("offset", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), kBytes), 0);
  void* const address = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd.get(), 3 * kPage);
  ASSERT_NE(address, MAP_FAILED);
  EXPECT_EQ(LookUpBoth(address, MappingKind::kShmem).offset, 3 * kPage);
  munmap(address, kPage);
}

TEST(MappingReader, FindsSysvSharedMemory) {
  const int id = shmget(IPC_PRIVATE, kBytes, IPC_CREAT | 0600);
  if (id < 0) GTEST_SKIP() << "no SysV shared memory here";
  void* const address = shmat(id, nullptr, 0);
  shmctl(id, IPC_RMID, nullptr);
  ASSERT_NE(address, MAP_FAILED);
  LookUpBoth(address, MappingKind::kSysvShm);
  shmdt(address);
}

TEST(MappingReader, FindsSecretMemory) {
  const Fd fd(static_cast<int>(syscall(SYS_memfd_secret, O_CLOEXEC)));
  if (!fd.valid() || ftruncate(fd.get(), kBytes) != 0) GTEST_SKIP() << "no memfd_secret here";
  const Mapped memory(PROT_READ | PROT_WRITE, MAP_SHARED, fd.get());
  if (!memory.ok()) GTEST_SKIP() << "secret memory cannot be mapped here";
  LookUpBoth(memory.address(), MappingKind::kSecretmem);
}

TEST(MappingReader, FindsHugePagesAndTheirSize) {
  constexpr int kHugeAnonymous = MAP_ANONYMOUS | MAP_HUGETLB;
  const Mapped privately(PROT_READ, MAP_PRIVATE | kHugeAnonymous, -1, kHuge);
  const Mapped shared(PROT_READ, MAP_SHARED | kHugeAnonymous, -1, kHuge);
  if (!privately.ok() || !shared.ok()) GTEST_SKIP() << "too few free huge pages (vm.nr_hugepages)";
  EXPECT_EQ(LookUpBoth(privately.address(), MappingKind::kAnonymous).page_size, kHuge);
  EXPECT_EQ(LookUpBoth(shared.address(), MappingKind::kHugetlb).page_size, kHuge);
}

TEST(MappingReader, AlignedSmallPagesAreNotTakenForHugeOnes) {
  const Fd fd(memfd_create("aligned", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), kHuge), 0);
  const Mapped memory(PROT_READ, MAP_SHARED, fd.get(), kHuge);
  ASSERT_EQ(memory.range().start % kHuge, 0U);
  EXPECT_EQ(LookUpBoth(memory.address(), MappingKind::kShmem).page_size, kPage);
}

TEST(MappingReader, FindsWhatIsNoOrdinaryMemory) {
  const auto vdso = getauxval(AT_SYSINFO_EHDR);
  if (vdso != 0) LookUpBoth(reinterpret_cast<void*>(vdso), MappingKind::kSpecial);
  io_uring ring{};
  if (io_uring_queue_init(4, &ring, 0) != 0) GTEST_SKIP() << "no io_uring here";
  LookUpBoth(ring.sq.ring_ptr, MappingKind::kSpecial);
  io_uring_queue_exit(&ring);
}

TEST(MappingReader, AHoleReachesFromItsPageToTheNextMapping) {
  const Mapped memory(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  ASSERT_EQ(munmap(memory.address(), 4 * kPage), 0);
  auto* const inside = static_cast<char*>(memory.address()) + kPage + 5;
  const Mapping hole = LookUpBoth(inside, MappingKind::kHole);
  EXPECT_EQ(hole.range, (Range{memory.range().start + kPage, memory.range().start + 4 * kPage}));
}

TEST(MappingReader, NothingIsMappedAtTheEndsOfTheAddressSpace) {
  LookUpBoth(nullptr, MappingKind::kHole);
  LookUpBoth(reinterpret_cast<void*>(UINTPTR_MAX - 1), MappingKind::kHole);
}

TEST(MappingReader, ListsAllThatARangeTouchesWithItsHoles) {
  const Mapped memory(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  auto* const start = static_cast<char*>(memory.address());
  ASSERT_EQ(mprotect(start + 2 * kPage, kPage, PROT_READ), 0);
  ASSERT_EQ(munmap(start + 5 * kPage, kPage), 0);
  const std::uintptr_t at = memory.range().start;
  MappingReader best(MappingReader::Source::kBest);
  MappingReader text(MappingReader::Source::kText);
  const Range range{at + kPage + 1, at + 6 * kPage + 1};
  const auto by_query = best.LookUpAll(range);
  const auto by_text = text.LookUpAll(range);
  ASSERT_TRUE(by_query.ok() && by_text.ok());
  ASSERT_EQ(by_query->size(), 5U);
  ASSERT_EQ(by_text->size(), 5U);
  for (std::size_t i = 0; i < by_query->size(); ++i) ExpectSame((*by_query)[i], (*by_text)[i]);
  EXPECT_EQ((*by_query)[0].range, (Range{at, at + 2 * kPage}));
  EXPECT_EQ((*by_query)[1].protection, PROT_READ);
  EXPECT_EQ((*by_query)[3].kind, MappingKind::kHole);
  EXPECT_EQ((*by_query)[3].range, (Range{at + 5 * kPage, at + 6 * kPage}));
  EXPECT_EQ((*by_query)[4].range, (Range{at + 6 * kPage, at + kBytes}));
}

// The descriptor of /proc/self/maps that a child inherits shows the parent's memory.
TEST(MappingReader, AForkedChildSeesItsOwnMemory) {
  const Mapped memory(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  const auto at = memory.range().start;
  ASSERT_EQ(LookUpMapping(at)->kind, MappingKind::kAnonymous);
  for (const bool raw : {false, true}) {
    const auto child = raw ? static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) : fork();
    if (child == 0) {
      munmap(memory.address(), kBytes);
      const auto mapping = LookUpMapping(at);
      _exit(mapping.ok() && mapping->kind == MappingKind::kHole ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << (raw ? "raw clone" : "fork");
    EXPECT_EQ(LookUpMapping(at)->kind, MappingKind::kAnonymous);
  }
}

// Like a daemon that closes every descriptor it did not open.
TEST(MappingReader, OutlivesItsDescriptorBeingClosedBehindItsBack) {
  const Mapped memory(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  const auto at = memory.range().start;
  const pid_t child = fork();
  if (child == 0) {
    if (!LookUpMapping(at).ok()) _exit(1);
    syscall(SYS_close_range, 3, ~0U, 0);
    _exit(LookUpMapping(at).value_or(Mapping{}).kind == MappingKind::kAnonymous ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(MappingReader, AnswersSensiblyWhileOthersMapAndUnmap) {
  const Mapped memory(PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  std::atomic<bool> stop{false};
  std::thread other([&stop] {
    while (!stop) {
      void* const page = mmap(nullptr, kPage, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
      munmap(page, kPage);
    }
  });
  MappingReader best(MappingReader::Source::kBest);
  MappingReader text(MappingReader::Source::kText);
  for (int i = 0; i < 300; ++i) {
    for (MappingReader* reader : {&best, &text}) {
      const auto mapping = reader->LookUp(memory.range().start + kPage);
      ASSERT_TRUE(mapping.ok()) << mapping.status();
      ASSERT_EQ(mapping->range, memory.range());
    }
  }
  stop = true;
  other.join();
}

}  // namespace
}  // namespace linchpin
