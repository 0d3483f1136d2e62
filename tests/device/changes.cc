#include "tests/device/changes.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/userfaultfd.h>
#include <malloc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

namespace linchpin::testing {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

absl::Status Failed(const char* what) {
  const int error = errno;
  const std::string text = absl::StrCat(what, ": ", strerrorname_np(error));
  const bool missing = error == EINVAL || error == ENOSYS || error == EOPNOTSUPP || error == EPERM;
  return missing ? absl::UnimplementedError(text) : absl::InternalError(text);
}

absl::Status Checked(long result, const char* what) {
  return result < 0 ? Failed(what) : absl::OkStatus();
}

// Maps anonymous memory at `at`, where a hole was left; by the raw system call.
absl::Status Fill(char* at, std::size_t size) {
  const long got = syscall(SYS_mmap, at, size, kReadWrite,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0L);
  if (got == reinterpret_cast<long>(at)) return absl::OkStatus();
  return errno == EEXIST ? absl::AbortedError("the address was taken") : Failed("mmap");
}

// An address that the kernel gives to nobody who does not ask for it, so that it is still free a
// moment after it was unmapped: below all that is mapped without a place, and where the sanitizers
// allow memory. Given again after a while, to whatever thread.
void* QuietAddress() {
  constexpr std::uintptr_t kFirst = 0x40000000;
  constexpr std::uintptr_t kSlot = 2 << 20;
  constexpr std::uintptr_t kSlots = 384;
  static std::atomic<std::uintptr_t> next{0};
  return reinterpret_cast<void*>(kFirst + next++ % kSlots * kSlot);
}

absl::StatusOr<Arena> MapArena(std::size_t size, int flags, int fd) {
  for (int i = 0; i < 1000; ++i) {
    void* at = mmap(QuietAddress(), size, kReadWrite, flags | MAP_FIXED_NOREPLACE, fd, 0);
    if (at != MAP_FAILED) return Arena{static_cast<char*>(at), size, fd, -1};
    if (errno != EEXIST) break;
  }
  return Failed("mmap");
}

absl::StatusOr<Arena> Anonymous(std::size_t size) {
  return MapArena(size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}
absl::StatusOr<Arena> SharedAnonymous(std::size_t size) {
  return MapArena(size, MAP_SHARED | MAP_ANONYMOUS, -1);
}
absl::StatusOr<Arena> Memfd(std::size_t size) {
  const int fd = memfd_create("linchpin-test", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(size)) != 0) return Failed("memfd");
  return MapArena(size, MAP_SHARED, fd);
}
absl::StatusOr<Arena> PrivateFile(std::size_t size) {
  char name[] = "/tmp/linchpin-test-XXXXXX";
  const int fd = mkostemp(name, O_CLOEXEC);
  if (fd < 0 || unlink(name) != 0 || ftruncate(fd, static_cast<off_t>(size)) != 0) {
    return Failed("temporary file");
  }
  return MapArena(size, MAP_PRIVATE, fd);
}
absl::StatusOr<Arena> SystemV(std::size_t size) {
  const int id = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
  if (id < 0) return Failed("shmget");
  void* at = shmat(id, QuietAddress(), 0);
  shmctl(id, IPC_RMID, nullptr);
  if (at == reinterpret_cast<void*>(-1)) return Failed("shmat");
  return Arena{static_cast<char*>(at), size, -1, id};
}
absl::StatusOr<Arena> OwnedByAForeigner(std::size_t size) {
  absl::StatusOr<Arena> arena = Anonymous(size);
  if (!arena.ok()) return arena;
  arena->fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1));
  uffdio_api api{};
  api.api = UFFD_API;
  uffdio_register range{};
  range.range = {reinterpret_cast<std::uintptr_t>(arena->at), size};
  range.mode = UFFDIO_REGISTER_MODE_WP;
  if (arena->fd < 0 || ioctl(arena->fd, UFFDIO_API, &api) != 0) return Failed("userfaultfd");
  if (ioctl(arena->fd, UFFDIO_REGISTER, &range) != 0) return Failed("UFFDIO_REGISTER");
  return arena;
}
// Above malloc's heap, which is given room before, so that it need not grow past us meanwhile.
absl::StatusOr<Arena> Break(std::size_t size) {
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  mallopt(M_TOP_PAD, 8 << 20);
  free(malloc(100 << 10));
  const auto odd = reinterpret_cast<std::uintptr_t>(sbrk(0)) % 4096;
  if (odd != 0) sbrk(static_cast<std::intptr_t>(4096 - odd));
  void* at = sbrk(static_cast<std::intptr_t>(size));
  if (at == reinterpret_cast<void*>(-1)) return Failed("sbrk");
  return Arena{static_cast<char*>(at), size, -1, -1};
}

void Unmap(Arena& arena) {
  munmap(arena.at, arena.size);
  if (arena.fd >= 0) close(arena.fd);
}
void Detach(Arena& arena) {
  shmdt(arena.at);
}
bool AtTheTop(const Arena& arena) {
  return sbrk(0) == arena.at + arena.size;
}
void Shrink(Arena& arena) {
  if (AtTheTop(arena)) sbrk(-static_cast<std::intptr_t>(arena.size));
}

// ---- what the monitor sees ----

absl::Status UnmapAll(Arena& arena) {
  if (auto done = Checked(munmap(arena.at, arena.size), "munmap"); !done.ok()) return done;
  return Fill(arena.at, arena.size);
}
absl::Status UnmapAllRaw(Arena& arena) {
  const long result = syscall(SYS_munmap, arena.at, arena.size);
  if (auto done = Checked(result, "munmap"); !done.ok()) return done;
  return Fill(arena.at, arena.size);
}
absl::Status UnmapPart(Arena& arena) {
  char* part = arena.at + arena.size / 2;
  if (auto done = Checked(munmap(part, 4096), "munmap"); !done.ok()) return done;
  return Fill(part, 4096);
}
absl::Status MapOver(Arena& arena) {
  void* at = mmap(arena.at, arena.size, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  return at == arena.at ? absl::OkStatus() : Failed("mmap");
}
absl::Status MapOverPart(Arena& arena) {
  Arena part{arena.at, 4096, -1, -1};
  return MapOver(part);
}
absl::Status RemapSmaller(Arena& arena) {
  const std::size_t half = arena.size / 2;
  if (mremap(arena.at, arena.size, half, 0) != arena.at) return Failed("mremap");
  return Fill(arena.at + half, arena.size - half);
}
absl::Status RemapAway(Arena& arena) {
  absl::StatusOr<Arena> target = Anonymous(arena.size);
  if (!target.ok()) return target.status();
  void* at = mremap(arena.at, arena.size, arena.size, MREMAP_MAYMOVE | MREMAP_FIXED, target->at);
  if (at != target->at) return Failed("mremap");
  const absl::Status filled = Fill(arena.at, arena.size);
  munmap(target->at, target->size);
  return filled;
}
absl::Status RemapOnto(Arena& arena) {
  absl::StatusOr<Arena> source = Anonymous(arena.size);
  if (!source.ok()) return source.status();
  std::memset(source->at, 1, source->size);
  void* at = mremap(source->at, arena.size, arena.size, MREMAP_MAYMOVE | MREMAP_FIXED, arena.at);
  return at == arena.at ? absl::OkStatus() : Failed("mremap");
}
absl::Status BreakDownAndUp(Arena& arena) {
  const auto size = static_cast<std::intptr_t>(arena.size);
  if (!AtTheTop(arena)) return absl::AbortedError("malloc grew past it");
  if (sbrk(-size) != arena.at + arena.size) return Failed("sbrk");
  return sbrk(size) == arena.at ? absl::OkStatus() : Failed("sbrk");
}
absl::Status DontNeed(Arena& arena) {
  return Checked(madvise(arena.at, arena.size, MADV_DONTNEED), "MADV_DONTNEED");
}
absl::Status DontNeedRaw(Arena& arena) {
  return Checked(syscall(SYS_madvise, arena.at + 4096, 4096L, MADV_DONTNEED), "MADV_DONTNEED");
}
absl::Status Free(Arena& arena) {
  return Checked(madvise(arena.at, arena.size, MADV_FREE), "MADV_FREE");
}
absl::Status DontNeedLocked(Arena& arena) {
  return Checked(madvise(arena.at, arena.size, MADV_DONTNEED_LOCKED), "MADV_DONTNEED_LOCKED");
}
absl::Status Remove(Arena& arena) {
  return Checked(madvise(arena.at, arena.size, MADV_REMOVE), "MADV_REMOVE");
}
absl::Status ProcessMadvise(Arena& arena) {
  const long pidfd = syscall(SYS_pidfd_open, getpid(), 0);
  const iovec range{arena.at, arena.size};
  const long done = syscall(SYS_process_madvise, pidfd, &range, 1L, MADV_DONTNEED, 0L);
  const absl::Status status = Checked(done, "process_madvise");
  close(static_cast<int>(pidfd));
  return status;
}
absl::Status RingMadvise(Arena& arena) {
  io_uring ring{};
  if (const int error = io_uring_queue_init(2, &ring, 0); error != 0) {
    errno = ENOSYS;
    return Failed("io_uring");
  }
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  io_uring_prep_madvise(sqe, arena.at, static_cast<off_t>(arena.size), MADV_DONTNEED);
  io_uring_submit_and_wait(&ring, 1);
  io_uring_cqe* cqe = nullptr;
  int result = io_uring_wait_cqe(&ring, &cqe);
  if (result == 0) {
    result = cqe->res;
    io_uring_cqe_seen(&ring, cqe);
  }
  io_uring_queue_exit(&ring);
  errno = -result;
  return Checked(result, "IORING_OP_MADVISE");
}

// A buffer of malloc's large enough that free() gives it back to the kernel.
absl::StatusOr<Arena> Allocated(std::size_t size) {
#ifdef __SANITIZE_ADDRESS__
  return absl::UnimplementedError("AddressSanitizer keeps what is freed");
#endif
  const std::size_t large = 64 << 20;  // Above M_MMAP_THRESHOLD's maximum.
  auto* block = static_cast<char*>(malloc(large));
  if (block == nullptr) return Failed("malloc");
  const auto aligned = (reinterpret_cast<std::uintptr_t>(block) + 8191) & ~std::uintptr_t{4095};
  return Arena{reinterpret_cast<char*>(aligned), size, -1,
               static_cast<int>(reinterpret_cast<char*>(aligned) - block)};
}
absl::Status FreeAndMap(Arena& arena) {
  if (arena.other < 0) return UnmapAll(arena);  // Freed already.
  free(arena.at - std::exchange(arena.other, -1));
  return Fill(arena.at, arena.size);
}

// ---- what it does not see ----

absl::Status DetachAndAttach(Arena& arena) {
  if (auto done = Checked(shmdt(arena.at), "shmdt"); !done.ok()) return done;
  const int id = shmget(IPC_PRIVATE, arena.size, IPC_CREAT | 0600);
  void* at = shmat(id, arena.at, 0);
  shmctl(id, IPC_RMID, nullptr);
  return at == arena.at ? absl::OkStatus() : absl::AbortedError("the address was taken");
}
absl::Status AttachOver(Arena& arena) {
  const int id = shmget(IPC_PRIVATE, arena.size, IPC_CREAT | 0600);
  void* at = shmat(id, arena.at, SHM_REMAP);
  shmctl(id, IPC_RMID, nullptr);
  return at == arena.at ? absl::OkStatus() : Failed("shmat");
}
absl::Status Truncate(Arena& arena) {
  if (auto done = Checked(ftruncate(arena.fd, 0), "ftruncate"); !done.ok()) return done;
  return Checked(ftruncate(arena.fd, static_cast<off_t>(arena.size)), "ftruncate");
}
absl::Status Punch(Arena& arena) {
  const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return Checked(fallocate(arena.fd, mode, 0, static_cast<off_t>(arena.size)), "fallocate");
}
absl::Status Protect(Arena& arena) {
  if (auto done = Checked(mprotect(arena.at, arena.size, PROT_NONE), "mprotect"); !done.ok()) {
    return done;
  }
  return Checked(mprotect(arena.at, arena.size, kReadWrite), "mprotect");
}
absl::Status ForkAndWrite(Arena& arena) {
  const pid_t child = fork();
  if (child < 0) return Failed("fork");
  if (child == 0) {
    for (std::size_t at = 0; at < arena.size; at += 4096) arena.at[at] = 'c';
    _exit(0);
  }
  return Checked(waitpid(child, nullptr, 0), "waitpid");
}
absl::Status UnmapFileAndMap(Arena& arena) {
  munmap(arena.at, arena.size);
  return Fill(arena.at, arena.size);
}
absl::Status Guard(Arena& arena) {
  const absl::Status done =
      Checked(madvise(arena.at, arena.size, MADV_GUARD_INSTALL), "MADV_GUARD_INSTALL");
  if (!done.ok()) return done;
  return Checked(madvise(arena.at, arena.size, MADV_GUARD_REMOVE), "MADV_GUARD_REMOVE");
}

std::vector<Change> MakeAllChanges() {
  using enum Effect;
  return {
      {"munmap", kEvent, true, Anonymous, UnmapAll, Unmap},
      {"raw munmap", kEvent, true, Anonymous, UnmapAllRaw, Unmap},
      {"munmap of a part", kEvent, true, Anonymous, UnmapPart, Unmap},
      {"mmap MAP_FIXED over it", kEvent, true, Anonymous, MapOver, Unmap},
      {"mmap MAP_FIXED over a part", kEvent, true, Anonymous, MapOverPart, Unmap},
      {"mremap to less", kEvent, true, Anonymous, RemapSmaller, Unmap},
      {"mremap to elsewhere", kEvent, true, Anonymous, RemapAway, Unmap},
      {"mremap MREMAP_FIXED onto it", kEvent, true, Anonymous, RemapOnto, Unmap},
      {"brk down and up", kEvent, false, Break, BreakDownAndUp, Shrink},
      {"free that reaches the kernel", kEvent, true, Allocated, FreeAndMap, Unmap},
      {"MADV_DONTNEED", kEvent, true, Anonymous, DontNeed, Unmap},
      {"raw MADV_DONTNEED of a part", kEvent, true, Anonymous, DontNeedRaw, Unmap},
      {"MADV_FREE", kEvent, true, Anonymous, Free, Unmap},
      {"MADV_DONTNEED_LOCKED", kEvent, true, Anonymous, DontNeedLocked, Unmap},
      {"process_madvise", kEvent, true, Anonymous, ProcessMadvise, Unmap},
      {"io_uring madvise", kEvent, true, Anonymous, RingMadvise, Unmap},
      {"MADV_REMOVE of shared memory", kNotKept, true, SharedAnonymous, Remove, Unmap},
      {"munmap of shared memory", kNotKept, true, SharedAnonymous, UnmapAll, Unmap},
      {"munmap of a memfd", kNotKept, true, Memfd, UnmapFileAndMap, Unmap},
      {"ftruncate of a memfd", kNotKept, true, Memfd, Truncate, Unmap},
      {"punched hole in a memfd", kNotKept, true, Memfd, Punch, Unmap},
      {"ftruncate of a private file", kNotKept, true, PrivateFile, Truncate, Unmap},
      {"dlclose and map", kNotKept, true, PrivateFile, UnmapFileAndMap, Unmap},
      {"shmdt and shmat", kNotKept, true, SystemV, DetachAndAttach, Detach},
      {"shmat SHM_REMAP over System V", kNotKept, true, SystemV, AttachOver, Detach},
      {"munmap under a foreign userfaultfd", kNotKept, true, OwnedByAForeigner, UnmapAll, Unmap},
      {"mprotect and back", kHarmless, true, Anonymous, Protect, Unmap},
      {"a forked child writes", kHarmless, false, Anonymous, ForkAndWrite, Unmap},
      {"MADV_GUARD_INSTALL", kMustBeTold, true, Anonymous, Guard, Unmap},
      {"shmat SHM_REMAP over anonymous", kMustBeTold, true, Anonymous, AttachOver, Unmap},
  };
}

}  // namespace

const std::vector<Change>& AllChanges() {
  static const std::vector<Change> all = MakeAllChanges();
  return all;
}

}  // namespace linchpin::testing
