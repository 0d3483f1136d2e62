#include "lib/phyr/page_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "lib/base/base_page.h"
#include "lib/base/error.h"
#include "lib/base/fd.h"

namespace linchpin::internal {
namespace {

constexpr std::uint64_t kNoFrame = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kNotKnown = kNoFrame - 1;

// Of /proc/kpageflags: the kernel's include/uapi/linux/kernel-page-flags.h.
constexpr int kCompoundTail = 16;
constexpr int kHugetlb = 17;
constexpr int kTransparentHuge = 22;
constexpr int kZero = 24;

bool HasBit(std::uint64_t word, int bit) {
  return (word >> bit & 1) != 0;
}

// A constant of the machine, found out when it is first asked for, perhaps by several threads at
// once: no lock that a forked child may find held.
template <std::uint64_t (*find)()>
std::uint64_t Constant() {
  static std::atomic<std::uint64_t> known{kNotKnown};
  std::uint64_t value = known.load(std::memory_order_relaxed);
  if (value == kNotKnown) known.store(value = find(), std::memory_order_relaxed);
  return value;
}

// The size of a transparent huge page that one entry of the upper page table maps; 0 without.
std::uint64_t FindHugePage() {
  const Fd fd(open("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", O_RDONLY | O_CLOEXEC));
  std::array<char, 32> text{};
  if (!fd.valid() || read(fd.get(), text.data(), text.size() - 1) <= 0) return 0;
  return std::strtoull(text.data(), nullptr, 10);
}

// The frame of the page of zeros: what is behind private memory that was read and never written.
// kNoFrame when it cannot be found out.
std::uint64_t FindZeroFrame() {
  const auto own = PageMap::Open(0);
  void* const page = mmap(nullptr, BasePageSize(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!own.ok() || page == MAP_FAILED) return kNoFrame;
  std::atomic_ref(*static_cast<char*>(page)).load();
  PageMapEntry entry{};
  const absl::Status read =
      own->ReadEntries(reinterpret_cast<std::uintptr_t>(page) / BasePageSize(), {&entry, 1});
  munmap(page, BasePageSize());
  return read.ok() && entry.frame() != 0 ? entry.frame() : kNoFrame;
}

std::string PathOf(pid_t pid) {
  return absl::StrCat("/proc/", pid == 0 ? "self" : absl::StrCat(pid), "/pagemap");
}

absl::Status Unreadable(int error, pid_t pid) {
  const std::string what = absl::StrCat(PathOf(pid), ": ", ErrnoText(error));
  switch (error) {
    case ENOENT:
    case ESRCH:
      if (pid == 0) break;
      return absl::NotFoundError(
          absl::StrCat(what, "; there is no such process (any more), or it has no memory"));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          absl::StrCat(what, "; run as root, or with CAP_SYS_PTRACE"));
    default:
      break;
  }
  return absl::UnavailableError(absl::StrCat(what, "; mount /proc"));
}

// Returns: whether a present page of this process has a frame number.
absl::StatusOr<bool> ShowsFrames(const PageMap& own) {
  PageMapEntry here{};  // On the stack, so it is surely there.
  absl::Status read =
      own.ReadEntries(reinterpret_cast<std::uintptr_t>(&here) / BasePageSize(), {&here, 1});
  if (!read.ok()) return read;
  return here.frame() != 0;
}

}  // namespace

absl::StatusOr<PageMap> PageMap::Open(pid_t pid) {
  PageMap map(open(PathOf(pid).c_str(), O_RDONLY | O_CLOEXEC), pid);
  if (!map.fd_.valid()) return Unreadable(errno, pid);
  if (pid != 0) {
    const auto own = Open(0);
    if (!own.ok()) return own.status();
    map.shows_frames_ = own->shows_frames();
    return map;
  }
  const auto shows = ShowsFrames(map);
  if (!shows.ok()) return shows.status();
  map.shows_frames_ = *shows;
  return map;
}

absl::Status PageMap::ReadEntries(std::uint64_t page, std::span<PageMapEntry> entries) const {
  auto* bytes = reinterpret_cast<char*>(entries.data());
  std::size_t left = entries.size_bytes();
  auto offset = static_cast<off_t>(page * sizeof(PageMapEntry));
  while (left > 0) {
    const ssize_t read = pread(fd_.get(), bytes, left, offset);
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return Unreadable(errno, pid_);
    if (read == 0) break;
    bytes += read;
    offset += read;
    left -= static_cast<std::size_t>(read);
  }
  // Nothing is also what there is of a process that has ended; the first page has an entry always.
  std::uint64_t first = 0;
  if (left != 0 && pread(fd_.get(), &first, sizeof first, 0) == 0) return Unreadable(ESRCH, pid_);
  std::fill(entries.end() - static_cast<std::ptrdiff_t>(left / sizeof(PageMapEntry)), entries.end(),
            PageMapEntry{0});
  return absl::OkStatus();
}

// Makes ranges of entries that come one after another.
class PageMap::Runs final {
 public:
  Runs(const PageMap& map, Range range, Kind kind, PhyrList& list)
      : range_(range),
        kind_(kind),
        list_(list),
        page_(BasePageSize()),
        zero_(map.shows_frames_ ? PageMapEntry::kPresent | Constant<FindZeroFrame>() : kNoFrame),
        start_(range.start & ~(page_ - 1)),
        end_(start_) {}

  void Add(std::span<const PageMapEntry> entries) {
    std::uint64_t next = next_;  // In registers, where pages go on.
    std::uint64_t step = step_;
    std::uintptr_t end = end_;
    for (const PageMapEntry entry : entries) {
      const std::uint64_t place = entry.place();
      if (place != next) {
        end_ = end;
        Flush();
        Begin(place);
        next = next_;
        step = step_;
      }
      end += page_;
      next += step;
      if (next == zero_) next = kNoFrame;
    }
    next_ = next;
    end_ = end;
  }

  // Ends the run. To be called also once, last.
  void Flush() {
    if (start_ == end_) return;
    switch (state_) {
      case State::kFrames:
        AddFrames();
        break;
      case State::kHidden:
        AddHidden();
        break;
      case State::kZero:
        AddPart(start_, end_, kind_.flags | PhyrFlags::kZeroPage);
        break;
      case State::kSwapped:
        list_.Append(Phyr(0, Cut(start_, end_).size(), PhyrFlags::kSwapped));
        break;
      case State::kAbsent:
        list_.Append(Phyr(0, Cut(start_, end_).size(), PhyrFlags::kAbsent));
        break;
    }
    start_ = end_;
  }

 private:
  enum class State : std::uint8_t { kFrames, kHidden, kZero, kSwapped, kAbsent };

  void Begin(std::uint64_t place) {
    step_ = 0;
    next_ = place;
    if (place == PageMapEntry::kAbsent) {
      state_ = kind_.left_out ? State::kHidden : State::kAbsent;
    } else if (place == PageMapEntry::kSwapped) {
      state_ = State::kSwapped;
    } else if (place == PageMapEntry::kPresent) {
      state_ = State::kHidden;
    } else {
      frame_ = place & PageMapEntry::kFrameMask;
      const bool zero = place == zero_;
      state_ = zero ? State::kZero : State::kFrames;
      step_ = zero ? 0 : 1;
      if (zero) next_ = kNoFrame;
    }
  }

  Range Cut(std::uintptr_t start, std::uintptr_t end) const {
    return {std::max(start, range_.start), std::min(end, range_.end)};
  }

  // Of the run's pages, those from `start` to `end`.
  void AddPart(std::uintptr_t start, std::uintptr_t end, PhyrFlags flags) {
    const Range part = Cut(start, end);
    if (!part.empty()) list_.Append(Phyr(AddressOf(part.start), part.size(), flags));
  }

  std::uint64_t AddressOf(std::uintptr_t at) const { return frame_ * page_ + (at - start_); }

  // Of the page of the mapping that it is in, each part is contiguous; no more can be said.
  void AddHidden() {
    const std::uint64_t granule = kind_.page_size;
    for (std::uintptr_t at = start_; at != end_;) {
      const std::uintptr_t next = std::min((at & ~(granule - 1)) + granule, end_);
      const Range part = Cut(at, next);
      list_.Append(Phyr(granule + (part.start & (granule - 1)), part.size(),
                        kind_.flags | PhyrFlags::kUnknownAddress));
      at = next;
    }
  }

  // A transparent huge page that is mapped as one lies at addresses of the same offset in it. Where
  // the run has such, each block may be one; else it is none, or mapped in small pieces.
  void AddFrames() {
    const std::uint64_t huge = Constant<FindHugePage>();
    const bool may_be_huge = huge != 0 && !Any(kind_.flags & PhyrFlags::kHuge) &&
                             ((start_ ^ frame_ * page_) & (huge - 1)) == 0;
    if (!may_be_huge) return AddPart(start_, end_, kind_.flags);
    for (std::uintptr_t at = start_; at != end_;) {
      const std::uintptr_t block = at & ~(huge - 1);
      const std::uintptr_t next = std::min(block + huge, end_);
      // Only at the range's ends can a huge page be seen in part.
      const bool whole = (block == at || block < range_.start) &&
                         (block + huge == next || block + huge > range_.end);
      const PhyrFlags flags =
          whole ? FlagsOfHuge(AddressOf(at) & ~(huge - 1), huge) : PhyrFlags::kNone;
      AddPart(at, next, kind_.flags | flags);
      at = next;
    }
  }

  // Pages of the kernel's buddy allocator are aligned to their size: if the page in the middle
  // of a block belongs to a page that began before it, that is as large as the block.
  PhyrFlags FlagsOfHuge(std::uint64_t address, std::uint64_t huge) {
    if (!page_flags_) page_flags_.emplace(open("/proc/kpageflags", O_RDONLY | O_CLOEXEC));
    const std::uint64_t middle = (address + huge / 2) / page_;
    std::uint64_t flags = 0;
    const ssize_t read =
        pread(page_flags_->get(), &flags, sizeof flags, static_cast<off_t>(middle * sizeof flags));
    if (read != sizeof flags || !HasBit(flags, kCompoundTail)) return PhyrFlags::kNone;
    if (!HasBit(flags, kTransparentHuge) && !HasBit(flags, kHugetlb)) return PhyrFlags::kNone;
    return HasBit(flags, kZero) ? PhyrFlags::kHuge | PhyrFlags::kZeroPage : PhyrFlags::kHuge;
  }

  const Range range_;
  const Kind kind_;
  PhyrList& list_;
  // /proc/kpageflags, once it is needed; invalid if this process may not read it.
  std::optional<Fd> page_flags_;
  const std::uint64_t page_;
  const std::uint64_t zero_;  // The place of a page of zeros; each is a run of its own.

  // The pages of the run, which are in one state. A page at the place next_ goes on with it.
  std::uintptr_t start_;
  std::uintptr_t end_;
  State state_ = State::kAbsent;
  std::uint64_t frame_ = 0;  // Of its first page.
  std::uint64_t next_ = kNoFrame;
  std::uint64_t step_ = 0;
};

absl::Status PageMap::Read(Range range, Kind kind, PhyrList& list) const {
  // Large enough that a system call costs little of it, small enough to stay in the cache.
  constexpr std::size_t kEntriesAtOnce = 8192;
  const std::uint64_t page = BasePageSize();
  const std::uint64_t end = (range.end - 1) / page + 1;
  const std::size_t before = list.size();
  Runs runs(*this, range, kind, list);
  std::vector<PageMapEntry> buffer(
      std::min<std::uint64_t>(end - range.start / page, kEntriesAtOnce));
  for (std::uint64_t at = range.start / page; at < end; at += buffer.size()) {
    const std::size_t wanted = std::min<std::uint64_t>(buffer.size(), end - at);
    const std::span<PageMapEntry> entries(buffer.data(), wanted);
    if (absl::Status read = ReadEntries(at, entries); !read.ok()) return read;
    runs.Add(entries);
    // As many entries again as there were so far for each page: most memory is the same throughout.
    const std::uint64_t left = end - at - wanted;
    if (at == range.start / page && left != 0) {
      const std::uint64_t a_buffer = list.size() - before;
      list.Reserve(before + a_buffer + a_buffer * (left / wanted + 1));
    }
  }
  runs.Flush();
  return absl::OkStatus();
}

}  // namespace linchpin::internal
