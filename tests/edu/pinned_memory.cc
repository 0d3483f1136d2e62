#include "tests/edu/pinned_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {

std::string ToString(PageKind kind) {
  switch (kind) {
    case PageKind::kSmall:
      return "4 KiB pages";
    case PageKind::kTransparentHuge:
      return "transparent huge pages";
    case PageKind::kHugetlb:
      return "hugetlb pages";
  }
  return "unknown";
}

absl::StatusOr<std::unique_ptr<PageMemory>> PageMemory::Make(PageKind kind, std::size_t bytes,
                                                             std::mt19937_64& random) {
  auto memory = std::unique_ptr<PageMemory>(new PageMemory(kind, bytes));
  if (absl::Status status = memory->Map(); !status.ok()) return status;
  std::vector<std::size_t> pages((bytes + kPage - 1) / kPage);
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), random);
  for (const std::size_t page : pages) memory->data_[page * kPage] = std::byte{1};
  return memory;
}

absl::Status PageMemory::Map() {
  const bool huge = kind_ != PageKind::kSmall;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (kind_ == PageKind::kHugetlb ? MAP_HUGETLB : 0);
  const std::size_t unit = huge ? kHugePage : kPage;
  // One unit more, so that there is an aligned beginning; hugetlb is aligned by itself.
  mapped_ = (size_ + unit - 1) / unit * unit + (kind_ == PageKind::kHugetlb ? 0 : unit);
  void* mapping = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapping == MAP_FAILED) return ErrnoToStatus(errno, ToString(kind_), "");
  mapping_ = mapping;
  const auto start = reinterpret_cast<std::uintptr_t>(mapping);
  data_ = reinterpret_cast<std::byte*>((start + unit - 1) / unit * unit);
  if (kind_ == PageKind::kHugetlb) return absl::OkStatus();
  if (madvise(mapping, mapped_, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) != 0) {
    return ErrnoToStatus(errno, ToString(kind_), "");
  }
  return absl::OkStatus();
}

PageMemory::~PageMemory() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_);
}

Range PageMemory::range(std::size_t offset, std::size_t length) const {
  const auto start = reinterpret_cast<std::uintptr_t>(data_) + offset;
  return {start, start + length};
}

absl::Status PageMemory::CheckKind(std::span<const std::uint64_t> frames) const {
  const std::uint64_t expected = kind_ == PageKind::kHugetlb           ? kFlagHugetlb
                                 : kind_ == PageKind::kTransparentHuge ? kFlagTransparentHuge
                                                                       : 0;
  const auto flags = KernelPageFlags(frames);
  if (!flags.ok()) return flags.status();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (((*flags)[i] & (kFlagHugetlb | kFlagTransparentHuge)) == expected) continue;
    return absl::UnavailableError(absl::StrCat("frame ", frames[i], " is none of ", ToString(kind_),
                                               ", its flags are 0x", absl::Hex((*flags)[i])));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<PinnedRange>> PinnedRange::Make(Range range,
                                                               std::shared_ptr<Registrar> registrar,
                                                               OwnedFrames& owned) {
  auto pin = PinVaddr(std::move(registrar), {.range = range, .rights = Access::kLocalWrite});
  if (!pin.ok()) return pin.status();
  auto pinned = std::unique_ptr<PinnedRange>(new PinnedRange(*std::move(pin), owned));
  if (!pinned->frames_.status().ok()) return pinned->frames_.status();
  return pinned;
}

}  // namespace linchpin::testing
