#include "apps/linchpin/phyr/own_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "lib/base/base_page.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"

// Of <linux/mman.h>, which cannot be had together with <sys/mman.h>.
#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif

namespace linchpin {
namespace {

constexpr std::size_t kAlignment = 2 << 20;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;

// At most what anybody may pin where RLIMIT_MEMLOCK is what Linux makes it, 8 MiB.
std::size_t BytesOf(MemoryKind kind) {
  return (kind == MemoryKind::kTransparentHuge ? 4 : 2) * kAlignment;
}

void* At(std::uintptr_t address) {
  return reinterpret_cast<void*>(address);
}

absl::Status NoMemory(const char* what) {
  return ErrnoToStatus(errno, what, "free some memory");
}

void Touch(Range range) {
  std::memset(At(range.start), 0x5a, range.size());
}

// A fault that finds no huge page, because a cgroup has no more, would be a SIGBUS.
absl::Status TouchHugetlb(Range range) {
  if (madvise(At(range.start), range.size(), MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
    return ErrnoToStatus(errno, "huge pages of 2 MiB", "let this cgroup have some");
  }
  Touch(range);
  return absl::OkStatus();
}

void ReadEachPage(Range range) {
  for (std::uintptr_t at = range.start; at < range.end; at += BasePageSize()) {
    std::atomic_ref(*static_cast<char*>(At(at))).load();
  }
}

}  // namespace

const char* ToString(MemoryKind kind) {
  switch (kind) {
    case MemoryKind::kSmall:
      return "small pages";
    case MemoryKind::kTransparentHuge:
      return "transparent huge pages";
    case MemoryKind::kHugetlb:
      return "hugetlb";
    case MemoryKind::kPartlyTouched:
      return "partly touched";
    case MemoryKind::kZero:
      return "page of zeros";
    case MemoryKind::kMappedTwice:
      return "file mapped twice";
  }
  return "unknown";
}

bool CanBePinned(MemoryKind kind) {
  return kind != MemoryKind::kPartlyTouched && kind != MemoryKind::kZero;
}

absl::StatusOr<OwnMemory> OwnMemory::Make(MemoryKind kind) {
  OwnMemory memory;
  if (absl::Status status = memory.Reserve(BytesOf(kind)); !status.ok()) return status;
  if (absl::Status status = memory.MapAndTouch(kind); !status.ok()) return status;
  return memory;
}

OwnMemory::~OwnMemory() {
  if (!reserved_.empty()) munmap(At(reserved_.start), reserved_.size());
}

// Address space for the memory twice, and for a huge page around each.
absl::Status OwnMemory::Reserve(std::size_t bytes) {
  const std::size_t all = 2 * bytes + 4 * kAlignment;
  void* const reserved = mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return NoMemory("address space for the self-test");
  const auto start = reinterpret_cast<std::uintptr_t>(reserved);
  reserved_ = {start, start + all};
  const std::uintptr_t first = (start / kAlignment + 1) * kAlignment;
  range_ = {first, first + bytes};
  return absl::OkStatus();
}

absl::Status OwnMemory::MapAnonymous(int protection, int flags) const {
  void* const mapped = mmap(At(range_.start), range_.size(), protection,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0);
  if (mapped != MAP_FAILED) return absl::OkStatus();
  if ((flags & MAP_HUGETLB) == 0) return NoMemory("memory for the self-test");
  return ErrnoToStatus(errno, "no huge pages of 2 MiB are set aside",
                       "vm.nr_hugepages says how many are to be");
}

absl::Status OwnMemory::MapTwice() {
  second_ = {range_.end + kAlignment, range_.end + kAlignment + range_.size()};
  const Fd file(memfd_create("linchpin-phyr", MFD_CLOEXEC));
  if (!file.valid() || ftruncate(file.get(), static_cast<off_t>(range_.size())) != 0) {
    return NoMemory("a file in memory for the self-test");
  }
  for (const Range range : {range_, second_}) {
    void* const mapped =
        mmap(At(range.start), range.size(), kReadWrite, MAP_SHARED | MAP_FIXED, file.get(), 0);
    if (mapped == MAP_FAILED) return NoMemory("a file in memory for the self-test");
    Touch(range);
  }
  return absl::OkStatus();
}

absl::Status OwnMemory::MapAndTouch(MemoryKind kind) {
  if (kind == MemoryKind::kMappedTwice) return MapTwice();
  const bool hugetlb = kind == MemoryKind::kHugetlb;
  const int protection = kind == MemoryKind::kZero ? PROT_READ : kReadWrite;
  absl::Status mapped = MapAnonymous(protection, hugetlb ? MAP_HUGETLB | MAP_HUGE_2MB : 0);
  if (!mapped.ok()) return mapped;
  if (hugetlb) return TouchHugetlb(range_);
  // Fails only where the kernel has no transparent huge pages: then there are none.
  madvise(At(range_.start), range_.size(),
          kind == MemoryKind::kTransparentHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  if (kind == MemoryKind::kZero) {
    ReadEachPage(range_);
  } else if (kind == MemoryKind::kPartlyTouched) {
    Touch({range_.start, range_.start + range_.size() / 2});
    Touch({range_.end - range_.size() / 4, range_.end});
  } else {
    Touch(range_);
  }
  return absl::OkStatus();
}

}  // namespace linchpin
