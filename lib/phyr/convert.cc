// Conversions of lists, each with its checks.
#include <infiniband/verbs.h>

#include <bit>
#include <limits>
#include <string>

#include "absl/strings/str_format.h"

#include "lib/phyr/unknown_address.h"
#include "linchpin/phyr_convert.h"

namespace linchpin {
namespace {

constexpr std::uint64_t kPagesMost = std::uint64_t{1} << 28;  // 2 GiB of frames.

// The flags of element `i`, as FromIovecs takes them.
PhyrFlags FlagsAt(std::span<const PhyrFlags> flags, std::size_t i) {
  if (flags.empty()) return PhyrFlags::kNone;
  return flags.size() == 1 ? flags.front() : flags[i];
}

absl::Status CheckCount(std::size_t elements, std::size_t flags) {
  if (flags <= 1 || flags == elements) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "there are %d flags for %d elements; give one for each, one, or none", flags, elements));
}

// Appends an element. Returns: InvalidArgument, naming it, if it is no range.
absl::Status AppendElement(std::size_t i, std::uint64_t address, std::uint64_t length,
                           PhyrFlags flags, PhyrList& list) {
  const absl::StatusOr<Phyr> phyr = Phyr::Of(address, length, flags);
  if (!phyr.ok()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("element %d: %s", i, std::string(phyr.status().message())));
  }
  list.Append(*phyr);
  return absl::OkStatus();
}

absl::Status CheckPageSize(std::uint64_t page_size) {
  const bool is_one = page_size >= 4096 && std::has_single_bit(page_size);
  if (is_one) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%d is no page size; give a power of two of 4096 or more", page_size));
}

absl::Status CheckWholePages(const PhyrList& list, std::size_t i, std::uint64_t page_size) {
  const Phyr& entry = list[i];
  const char* refused = nullptr;
  const std::uint64_t within = page_size - 1;
  const bool last = i + 1 == list.size();
  if (entry.Has(PhyrFlags::kUnknownAddress)) {
    refused = internal::WhyUnknown(entry);
  } else if (entry.Has(kPlaceless)) {
    if (i != 0 && !last && (entry.length() & within) != 0) refused = "is no number of whole pages";
  } else if (i != 0 && (entry.address() & within) != 0) {
    refused = "begins within a page";
  } else if (!last && ((entry.last() + 1) & within) != 0) {
    refused = "ends within a page";
  }
  if (refused == nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat("entry %d of the list, %s, %s (of %d bytes)",
                                                       i, entry.ToString(), refused, page_size));
}

// Where the list begins in its first page. What is nowhere ends with a page, if more follows.
std::uint64_t OffsetOf(const PhyrList& list, std::uint64_t page_size) {
  if (list.empty()) return 0;
  const std::uint64_t within = page_size - 1;
  if (!list[0].Has(kPlaceless)) return list[0].address() & within;
  return list.size() == 1 ? 0 : (0 - list[0].length()) & within;
}

}  // namespace

FlaggedIovecs ToIovecs(const PhyrList& list) {
  FlaggedIovecs iovecs;
  iovecs.elements.reserve(list.size());
  iovecs.flags.reserve(list.size());
  for (const Phyr& entry : list) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): what an iovec is made for has no integer.
    iovecs.elements.push_back({reinterpret_cast<void*>(entry.address()), entry.length()});
    iovecs.flags.push_back(entry.flags());
  }
  return iovecs;
}

absl::StatusOr<PhyrList> FromIovecs(std::span<const iovec> elements,
                                    std::span<const PhyrFlags> flags) {
  if (absl::Status status = CheckCount(elements.size(), flags.size()); !status.ok()) return status;
  PhyrList list;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const auto address = reinterpret_cast<std::uintptr_t>(elements[i].iov_base);
    absl::Status status = AppendElement(i, address, elements[i].iov_len, FlagsAt(flags, i), list);
    if (!status.ok()) return status;
  }
  return list;
}

absl::StatusOr<FlaggedSges> ToSges(const PhyrList& list, std::uint32_t lkey) {
  FlaggedSges sges;
  sges.elements.reserve(list.size());
  sges.flags.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i].placed()) continue;
    return absl::FailedPreconditionError(
        absl::StrFormat("entry %d of the list, %s, has no address; a device can be given none", i,
                        list[i].ToString()));
  }
  for (const Phyr& piece : list.Pieces({.max_length = FlaggedSges::kMaxLength})) {
    const auto length = static_cast<std::uint32_t>(piece.length());
    sges.elements.push_back({.addr = piece.address(), .length = length, .lkey = lkey});
    sges.flags.push_back(piece.flags());
  }
  return sges;
}

absl::StatusOr<PhyrList> FromSges(std::span<const ibv_sge> elements,
                                  std::span<const PhyrFlags> flags) {
  if (absl::Status status = CheckCount(elements.size(), flags.size()); !status.ok()) return status;
  PhyrList list;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    absl::Status status =
        AppendElement(i, elements[i].addr, elements[i].length, FlagsAt(flags, i), list);
    if (!status.ok()) return status;
  }
  return list;
}

absl::StatusOr<PageFrames> ToPageFrames(const PhyrList& list, std::uint64_t page_size) {
  if (absl::Status status = CheckPageSize(page_size); !status.ok()) return status;
  PageFrames frames;
  frames.page_size = page_size;
  frames.length = list.length();
  if (list.length() / page_size > kPagesMost) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d bytes have more than %d pages of %d bytes; convert a slice at a time",
                        list.length(), kPagesMost, page_size));
  }
  frames.offset = OffsetOf(list, page_size);
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (absl::Status status = CheckWholePages(list, i, page_size); !status.ok()) return status;
  }
  for (const DevicePage& page : list.Pages(page_size)) {
    frames.words.push_back(PageFrames::Word(page.address / page_size, list[page.entry].flags()));
  }
  return frames;
}

absl::StatusOr<PhyrList> FromPageFrames(const PageFrames& frames) {
  const std::uint64_t size = frames.page_size;
  if (absl::Status status = CheckPageSize(size); !status.ok()) return status;
  std::uint64_t end = 0;
  const bool fits = frames.offset < size &&
                    !__builtin_add_overflow(frames.offset, frames.length, &end) &&
                    (frames.length == 0 ? 0 : (end - 1) / size + 1) == frames.words.size();
  if (!fits) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d bytes from byte %d on are not %d pages of %d bytes", frames.length,
                        frames.offset, frames.words.size(), size));
  }
  PhyrList list;
  for (std::size_t i = 0; i < frames.words.size(); ++i) {
    const std::uint64_t frame = PageFrames::FrameOf(frames.words[i]);
    const PhyrFlags flags = PageFrames::FlagsOf(frames.words[i]);
    if (frame > std::numeric_limits<std::uint64_t>::max() / size) {
      return absl::InvalidArgumentError(
          absl::StrFormat("frame %d of page %d lies beyond the last address", frame, i));
    }
    const std::uint64_t from = i == 0 ? frames.offset : 0;
    const std::uint64_t to = i + 1 == frames.words.size() ? (end - 1) % size + 1 : size;
    const std::uint64_t address = Any(flags & kPlaceless) ? 0 : frame * size + from;
    absl::Status status = AppendElement(i, address, to - from, flags, list);
    if (!status.ok()) return status;
  }
  return list;
}

}  // namespace linchpin
