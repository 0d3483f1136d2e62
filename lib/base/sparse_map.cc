#include "lib/base/sparse_map.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"

namespace linchpin {
namespace {

constexpr std::size_t kFirstBytes = 64 << 10;
constexpr std::size_t kMostBytesAtOnce = 16 << 20;

constexpr std::size_t kHugePageBytes = 2 << 20;

constexpr std::size_t RoundUp(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

void* Map(std::size_t bytes) {
  return mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

// The same, but it starts where a huge page can.
void* MapAligned(std::size_t bytes) {
  constexpr std::size_t kMore = kHugePageBytes;
  void* const all = Map(bytes + kMore);
  if (all == MAP_FAILED) return all;
  auto* const start = static_cast<std::byte*>(all);
  const std::size_t before = RoundUp(reinterpret_cast<std::uintptr_t>(all), kHugePageBytes) -
                             reinterpret_cast<std::uintptr_t>(all);
  if (before != 0) munmap(start, before);
  munmap(start + before + bytes, kMore - before);
  return start + before;
}

}  // namespace

absl::StatusOr<SparseMap> SparseMap::Reserve(std::size_t bytes, Pages pages) {
  bytes = RoundUp(bytes, kFirstBytes);
  void* const data = pages == Pages::kHuge ? MapAligned(bytes) : Map(bytes);
  if (data == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot reserve ", bytes, " bytes of address space: ", ErrnoText(errno),
                     "; raise RLIMIT_AS (ulimit -v), or RLIMIT_MEMLOCK under mlockall"));
  }
  munlock(data, bytes);  // Before it is opened: nothing has been made resident yet.
  madvise(data, bytes, MADV_DONTDUMP);
  if (pages == Pages::kHuge) madvise(data, bytes, MADV_HUGEPAGE);
  return SparseMap(static_cast<std::byte*>(data), bytes);
}

absl::StatusOr<SparseMap> SparseMap::MakeOpen(std::size_t bytes) {
  absl::StatusOr<SparseMap> map = Reserve(bytes);
  if (map.ok() && !map->Open(bytes)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot open ", bytes, " bytes of memory: ", ErrnoText(errno), "; free some"));
  }
  return map;
}

SparseMap::SparseMap(SparseMap&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      open_bytes_(other.open_bytes_.exchange(0)) {}

SparseMap& SparseMap::operator=(SparseMap&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  open_bytes_ = other.open_bytes_.exchange(open_bytes_);
  return *this;
}

SparseMap::~SparseMap() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

bool SparseMap::Open(std::size_t bytes) {
  const std::size_t open = open_bytes_;
  if (bytes <= open) return true;
  if (bytes > bytes_) return false;
  const std::size_t more = std::clamp(open, kFirstBytes, kMostBytesAtOnce);
  const std::size_t wanted = std::min(bytes_, std::max(RoundUp(bytes, kFirstBytes), open + more));
  if (mprotect(data_ + open, wanted - open, PROT_READ | PROT_WRITE) != 0) return false;
  open_bytes_ = wanted;
  return true;
}

void SparseMap::Clear() const {
  if (open_bytes_ != 0) madvise(data_, open_bytes_, MADV_DONTNEED);
}

}  // namespace linchpin
