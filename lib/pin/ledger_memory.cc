#include "lib/pin/ledger_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "lib/base/fd.h"
#include "lib/memory/mapping.h"
#include "lib/memory/proc_stat.h"

namespace linchpin::internal {
namespace {

// Newer than the headers of the oldest system we build on. Without it vm.memfd_noexec=2 refuses.
constexpr unsigned kNoExecSeal = 8;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE

// Returns: a memfd of the ledger's size that nobody can make larger or smaller, or -1 and errno.
int MakeSealed() {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int made = memfd_create(kLedgerName, kFlags | kNoExecSeal);
  if (made < 0 && errno == EINVAL) made = memfd_create(kLedgerName, kFlags);
  Fd fd(made);
  if (!fd.valid()) return -1;
  if (ftruncate(fd.get(), kLedgerBytes) != 0) return -1;
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return -1;
  return fd.Release();
}

// Returns: whether the pages that these bytes are in have memory now.
bool Populate(std::byte* start, std::size_t bytes) {
  const std::size_t page = BasePageSize();
  const std::size_t before = reinterpret_cast<std::uintptr_t>(start) % page;
  if (madvise(start - before, before + bytes, kPopulateWrite) == 0) return true;
  return errno != ENOMEM && errno != EFAULT;  // EINVAL: before Linux 5.14, which has no such call.
}

// Maps `fd`, or ordinary memory if it is -1. Returns: null and errno when that fails.
std::byte* Map(int fd) {
  const int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const mapped = mmap(nullptr, kLedgerBytes, PROT_NONE, flags, fd, 0);
  if (mapped == MAP_FAILED) return nullptr;
  munlock(mapped, kLedgerBytes);  // Before it is opened, mlockall has made nothing resident.
  const bool usable = madvise(mapped, kLedgerBytes, MADV_DONTFORK) == 0 &&
                      mprotect(mapped, kLedgerBytes, PROT_READ | PROT_WRITE) == 0 &&
                      Populate(static_cast<std::byte*>(mapped), kLedgerHeaderBytes);
  if (!usable) {
    const int error = errno;
    munmap(mapped, kLedgerBytes);
    errno = error;
    return nullptr;
  }
  madvise(mapped, kLedgerBytes, MADV_DONTDUMP);
  return static_cast<std::byte*>(mapped);
}

// When this process started, in ticks since boot; 0 when that cannot be read.
std::uint64_t StartTime() {
  const Fd fd(open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
  std::array<char, 1024> buffer{};
  const ssize_t count = fd.valid() ? read(fd.get(), buffer.data(), buffer.size()) : 0;
  const std::string_view stat(buffer.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
  const std::string_view field = StatField(stat, kStartTimeField);
  std::uint64_t ticks = 0;
  std::from_chars(field.data(), field.data() + field.size(), ticks);
  return ticks;
}

void WriteIdentity(LedgerHeader& header) {
  header.magic = kLedgerMagic;
  header.version = kLedgerVersion;
  header.header_bytes = kLedgerHeaderBytes;
  header.pid = static_cast<std::uint32_t>(getpid());
  header.start_time = StartTime();
  header.pin_bytes = sizeof(LedgerPinRecord);
  header.pins = kLedgerPins;
  header.file_bytes = sizeof(LedgerFileRecord);
  header.files = kLedgerFiles;
  header.cache_bytes = sizeof(LedgerCacheRecord);
  header.caches = kLedgerCaches;
}

// Copies what has been used of the ledger at `from` to the file. Returns: success.
bool CopyUsed(const std::byte* from, int fd) {
  const auto& header = *reinterpret_cast<const LedgerHeader*>(from);
  const std::array<std::pair<std::size_t, std::size_t>, 4> parts{{
      {0, kLedgerHeaderBytes},
      {kLedgerPinsAt, header.pins_used * sizeof(LedgerPinRecord)},
      {kLedgerFilesAt, header.files_used * sizeof(LedgerFileRecord)},
      {kLedgerCachesAt, header.caches_used * sizeof(LedgerCacheRecord)},
  }};
  for (const auto& [offset, bytes] : parts) {
    const ssize_t written = pwrite(fd, from + offset, bytes, static_cast<off_t>(offset));
    if (written != static_cast<ssize_t>(bytes)) return false;
  }
  return true;
}

}  // namespace

int LedgerMemory::TryToBeSeen() {
  if (seen()) return 0;
  std::byte* const old = base();
  Fd fd(MakeSealed());
  int error = fd.valid() ? 0 : errno;
  std::byte* fresh = fd.valid() ? Map(fd.get()) : nullptr;
  if (fd.valid() && fresh == nullptr) error = errno;
  if (fresh == nullptr) {
    if (old == nullptr) base_.store(Map(-1), std::memory_order_release);
    return error;
  }
  if (old != nullptr && !CopyUsed(old, fd.get())) {
    munmap(fresh, kLedgerBytes);
    return ENOMEM;
  }
  WriteIdentity(*reinterpret_cast<LedgerHeader*>(fresh));
  base_.store(fresh, std::memory_order_release);
  fd_ = ForkClosedFd(fd.Release());
  // Another thread may be reading in the old memory: it stays mapped, and costs nothing more.
  if (old != nullptr) madvise(old, kLedgerBytes, MADV_DONTNEED);
  return 0;
}

bool LedgerMemory::Back(std::size_t offset, std::size_t bytes) const {
  return Populate(base() + offset, bytes);
}

}  // namespace linchpin::internal
