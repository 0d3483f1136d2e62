#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "linchpin/phyr.h"

struct ibv_sge;  // infiniband/verbs.h, for who converts to them or from them.

namespace linchpin {

// Physical ranges as other interfaces have them, and back. What those cannot say, the flags, is
// kept beside, so that a list comes back as it was.

// The addresses are as they are in the list: physical ones, or a device's. They can be dereferenced
// only where these are the process's own (IO address = virtual address).
struct FlaggedIovecs {
  std::vector<iovec> elements;   // One for each entry; null where that has no address.
  std::vector<PhyrFlags> flags;  // Of each element.
};
FlaggedIovecs ToIovecs(const PhyrList& list);

// `flags`: of each element; one, of all; none, of none.
// Returns: the list; InvalidArgument, naming the element, for one that is no Phyr (Phyr::Of), and
// for another number of flags.
absl::StatusOr<PhyrList> FromIovecs(std::span<const iovec> elements,
                                    std::span<const PhyrFlags> flags = {});

// For queue pairs that take addresses without a registration (a reserved key).
struct FlaggedSges {
  static constexpr std::uint32_t kMaxLength = 1U << 31;  // Of an element, in bytes.

  std::vector<ibv_sge> elements;  // Entries longer than kMaxLength are cut.
  std::vector<PhyrFlags> flags;   // Of each element.
};

// Every element gets `lkey`.
// Returns: FailedPrecondition, naming the entry, for one without an address.
absl::StatusOr<FlaggedSges> ToSges(const PhyrList& list, std::uint32_t lkey);

// As FromIovecs. The lkeys stay with the elements.
absl::StatusOr<PhyrList> FromSges(std::span<const ibv_sge> elements,
                                  std::span<const PhyrFlags> flags = {});

// Memory as the frames of its pages: `length` bytes from `offset` on in the first of them.
struct PageFrames {
  std::uint64_t page_size = 4096;  // In bytes: a power of two, at least 4,096.
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::vector<std::uint64_t> words;  // Of each page: the frame's number, and flags below it.

  static constexpr std::uint64_t Word(std::uint64_t frame, PhyrFlags flags) {
    return frame << Phyr::kFlagBits | static_cast<std::uint16_t>(flags);
  }
  static constexpr std::uint64_t FrameOf(std::uint64_t word) { return word >> Phyr::kFlagBits; }
  static constexpr PhyrFlags FlagsOf(std::uint64_t word) {
    return static_cast<PhyrFlags>(word & ((1U << Phyr::kFlagBits) - 1));
  }
};

// Frame numbers count pages of `page_size`; those of what is in no place are 0.
// Returns: InvalidArgument for a page size that is none, and for more than 2^28 pages;
// FailedPrecondition, naming the entry, for one that begins or ends within a page, but for the
// list's own beginning and end, or whose address is not known.
absl::StatusOr<PageFrames> ToPageFrames(const PhyrList& list, std::uint64_t page_size = 4096);

// Returns: InvalidArgument when offset and length need another number of pages than there are, for
// a page size that is none, for a frame beyond the last address, and for flags that are none.
absl::StatusOr<PhyrList> FromPageFrames(const PageFrames& frames);

}  // namespace linchpin
