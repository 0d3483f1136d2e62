#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/phyr_pieces.h"
#include "linchpin/phyr_range.h"
#include "linchpin/range.h"

namespace linchpin {

// Physical ranges in an order, usually that of the virtual addresses or of the file they are
// behind. Neighbours that go on where the one before ends, with the same flags, are one entry: what
// is contiguous for a device is contiguous in the list.
//
// Invariant: no entry is empty, and none Continues the one before it.
//
// Thread-safety: const calls may be made at once from any threads.
class PhyrList final {
 public:
  static constexpr std::uint64_t kMaxLength = std::numeric_limits<std::uint64_t>::max();

  PhyrList() = default;

  // Adds to the end, in constant time (amortised). Nothing of length 0 is added.
  void Append(Phyr phyr) {
    if (phyr.length() == 0) return;
    if (__builtin_add_overflow(length_, phyr.length(), &length_)) length_ = kMaxLength;
    if (!entries_.empty() && entries_.back().Continues(phyr)) {
      const Phyr last = entries_.back();
      entries_.back() = Phyr(last.address(), last.length() + phyr.length(), last.flags());
    } else {
      entries_.push_back(phyr);
    }
  }
  void Append(const PhyrList& list);

  void Reserve(std::size_t entries) { entries_.reserve(entries); }
  void Clear();  // Keeps its memory.

  std::span<const Phyr> entries() const { return entries_; }
  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  const Phyr& operator[](std::size_t entry) const { return entries_[entry]; }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  // Of all entries, in bytes. kMaxLength if they are more: there are no addresses for them.
  std::uint64_t length() const { return length_; }

  // The `length` bytes from byte `offset` of the list on.
  // Returns: OutOfRange when the list has not so many.
  absl::StatusOr<PhyrList> Slice(std::uint64_t offset, std::uint64_t length) const;

  // The first `offset` bytes, and the rest. Returns: OutOfRange as Slice.
  absl::StatusOr<std::pair<PhyrList, PhyrList>> Split(std::uint64_t offset) const;

  // The same bytes with flags added, or taken away: neighbours may become one entry. kAddressFlags
  // stay as they are.
  PhyrList With(PhyrFlags added) const;
  PhyrList Without(PhyrFlags removed) const;

  // For a `for` loop: the entries in order, cut by the limits. Entries without an address are cut
  // by max_length alone. Requires: the list lives and is not changed meanwhile.
  PhyrPieces Pieces(PieceLimits limits) const;

  // For a `for` loop: the pages of a translation table that cover the entries, each entry for
  // itself. Requires: `page_size` is a power of two; as Pieces.
  DevicePages Pages(std::uint64_t page_size) const;

  bool operator==(const PhyrList&) const = default;

 private:
  std::vector<Phyr> entries_;
  std::uint64_t length_ = 0;
};

inline PhyrPieces PhyrList::Pieces(PieceLimits limits) const {
  return {entries_, limits};
}
inline DevicePages PhyrList::Pages(std::uint64_t page_size) const {
  return {entries_, page_size};
}

struct ReadPhyrsOptions {
  pid_t pid = 0;                     // Whose memory; 0: this process's.
  PhyrFlags add = PhyrFlags::kNone;  // To each entry that is there: how the caller holds it.
};

// Reads where memory is: from /proc/PID/pagemap, in one pass. The list has exactly the bytes of
// `range`, in their order. It was true when it was read, page by page; it stays so only for memory
// that is pinned, so read after the registration: pages may be moved by it.
//
// A process without CAP_SYS_ADMIN may not see frame numbers. Its list has kUnknownAddress entries,
// each of one page of the mapping, which is the contiguity that can be promised: transparent huge
// pages are not seen then, nor the page of zeros. So has everybody's, of a device's memory
// (kDevice): the kernel mostly leaves it out of the page map, and only the device's driver knows
// its bus address.
//
// Returns: the list; otherwise InvalidArgument for an empty range; NotFound, PermissionDenied or
// Unavailable, with what to do, when the process's maps or page map cannot be read.
absl::StatusOr<PhyrList> ReadPhyrs(Range range, const ReadPhyrsOptions& options = {});

// How a device would translate a registration of a list.
struct PageSizeChoice {
  std::uint64_t page_size = 0;  // In bytes.
  std::uint64_t entries = 0;    // Of the translation table: pages that the registration touches.
};

// The largest of the page sizes in `supported` (a bit for each, as RegistrarLimits::page_sizes) by
// which a device can translate the registration of `list` at `iova`: at each address that begins or
// ends a page within the list, physical and IO address agree modulo the page size, and no page is
// larger than needed to cover all of it with one. The rule of ib_umem_find_best_pgsz
// (drivers/infiniband/core/umem.c). An entry whose address is not known counts as contiguous within
// its granule, and with no neighbour.
//
// Returns: InvalidArgument for an empty list, an empty `supported`, or an `iova` that the list
// would wrap around from; FailedPrecondition, naming the entry, when none of the page sizes is
// small enough, or an entry has no address at all.
absl::StatusOr<PageSizeChoice> BestPageSize(const PhyrList& list, std::uint64_t iova,
                                            std::uint64_t supported);

}  // namespace linchpin
