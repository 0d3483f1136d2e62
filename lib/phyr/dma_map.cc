#include "linchpin/dma_map.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

#include "lib/phyr/unknown_address.h"

namespace linchpin {
namespace {

bool IsPowerOfTwoOrZero(std::uint64_t number) {
  return number == 0 || std::has_single_bit(number);
}

absl::Status CheckLimits(const DmaLimits& limits) {
  if (!IsPowerOfTwoOrZero(limits.boundary) || !IsPowerOfTwoOrZero(limits.merge_granule)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("boundary %d and merge granule %d must be 0 or powers of two",
                        limits.boundary, limits.merge_granule));
  }
  if (limits.iova != nullptr && limits.mask < limits.iova->granule() - 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a device with addresses up to %#x has not one granule (%d bytes) of the "
                        "IovaSpace; use one of a smaller granule",
                        limits.mask, limits.iova->granule()));
  }
  return absl::OkStatus();
}

std::string NameOf(const PhyrList& list, std::size_t entry) {
  return absl::StrFormat("entry %d of the list, %s,", entry, list[entry].ToString());
}

absl::Status CheckEntry(const PhyrList& list, std::size_t i, const DmaLimits& limits) {
  const Phyr& entry = list[i];
  const char* refused = nullptr;
  if (entry.Has(kPlaceless)) {
    refused = "is not in memory; pin it, and read the list after that";
  } else if (entry.Has(PhyrFlags::kUnknownAddress)) {
    refused = internal::WhyUnknown(entry);
  } else if (entry.Has(PhyrFlags::kOnDemand)) {
    refused = "is held by nobody, so that it may be elsewhere in a moment; pin it";
  } else if (entry.Has(PhyrFlags::kZeroPage) && limits.device_writes) {
    refused =
        "is the page of zeros, which all processes share; write to the memory, or pin it "
        "for writing, first";
  }
  if (refused != nullptr) return absl::FailedPreconditionError(NameOf(list, i) + " " + refused);
  const bool direct = limits.iova == nullptr || entry.Has(PhyrFlags::kBusAddress);
  if (!direct || entry.last() <= limits.mask) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrFormat(
      "%s goes beyond %#x, the last address that the device has; %s", NameOf(list, i), limits.mask,
      entry.Has(PhyrFlags::kBusAddress)
          ? "the two devices cannot reach each other"
          : "map it through an IovaSpace, or copy it to lower memory"));
}

// What one of these makes of an entry, CheckEntry says.
constexpr PhyrFlags kUncommon = kPlaceless | PhyrFlags::kUnknownAddress | PhyrFlags::kOnDemand |
                                PhyrFlags::kZeroPage | PhyrFlags::kBusAddress;

absl::Status Check(const PhyrList& list, const DmaLimits& limits) {
  if (absl::Status status = CheckLimits(limits); !status.ok()) return status;
  if (list.empty()) return absl::InvalidArgumentError("an empty list cannot be mapped");
  const std::uint64_t mask = limits.iova == nullptr ? limits.mask : ~std::uint64_t{0};
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].Has(kUncommon) && list[i].last() <= mask) continue;
    if (absl::Status status = CheckEntry(list, i, limits); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Makes segments of pieces of device addresses.
class Segmenter final {
 public:
  Segmenter(const DmaLimits& limits, std::vector<Phyr>& segments)
      : limits_(limits),
        length_max_(limits.max_segment == 0 ? Phyr::kMaxLength
                                            : std::min(limits.max_segment, Phyr::kMaxLength)),
        segments_(segments) {}

  // Adds the next entry.
  void Add(Phyr piece) {
    if (!Merges(piece)) Close();
    while (piece.length() > 0) {
      if (room_ == 0) Close();
      if (open_.length() == 0) Open(piece);
      const std::uint64_t taken = std::min(room_, piece.length());
      const PhyrFlags flags = open_.length() == 0 ? piece.flags() : open_.flags() & piece.flags();
      open_ = Phyr(open_.address(), open_.length() + taken, flags);
      room_ -= taken;
      piece = Phyr(piece.address() + taken, piece.length() - taken, piece.flags());
    }
  }

  // To be called also once, last.
  void Close() {
    if (open_.length() > 0) segments_.push_back(open_);
    open_ = Phyr();
  }

 private:
  // Whether a segment may have bytes of the entries before and of this one.
  bool Merges(Phyr piece) const {
    if (open_.length() == 0 || limits_.merge_granule == 0) return false;
    if (open_.Has(PhyrFlags::kBusAddress) || piece.Has(PhyrFlags::kBusAddress)) return false;
    return open_.last() < piece.address() && open_.last() + 1 == piece.address() &&
           (piece.address() & (limits_.merge_granule - 1)) == 0;
  }

  void Open(Phyr piece) {
    open_ = Phyr(piece.address(), 0, piece.flags());
    const std::uint64_t within = limits_.boundary - 1;  // All of the bits without a boundary.
    const std::uint64_t to_boundary = (piece.address() | within) - piece.address();
    room_ = to_boundary < length_max_ ? to_boundary + 1 : length_max_;
  }

  const DmaLimits& limits_;
  const std::uint64_t length_max_;
  std::vector<Phyr>& segments_;
  Phyr open_;               // The segment to which bytes may still be added; empty: none.
  std::uint64_t room_ = 0;  // For so many.
};

// Where the entries of a list lie in a range of IO addresses. Those that are one piece of physical
// memory are one piece there too, at the same place within a granule.
class IovaLayout final {
 public:
  explicit IovaLayout(std::uint64_t granule) : within_(granule - 1) {}

  // Places the next entry. Returns: its offset from the beginning of the range; no sense once it
  // overflowed.
  std::uint64_t Place(const Phyr& entry) {
    const bool goes_on = behind_ != 0 && entry.address() == behind_;
    if (!goes_on) {
      next_ = (next_ + within_) & ~within_;
      next_ += entry.address() & within_;
    }
    const std::uint64_t offset = next_;
    overflowed_ |= __builtin_add_overflow(next_, entry.length(), &next_) ||
                   next_ > ~std::uint64_t{0} - within_;
    behind_ = entry.last() + 1;
    fresh_ = !goes_on;
    return offset;
  }

  bool fresh() const { return fresh_; }  // Whether the entry placed last began a piece.
  bool overflowed() const { return overflowed_; }
  std::uint64_t bytes() const { return (next_ + within_) & ~within_; }

 private:
  const std::uint64_t within_;
  std::uint64_t next_ = 0;
  std::uint64_t behind_ = 0;  // The address behind the entry placed last. 0: there is none.
  bool fresh_ = false;
  bool overflowed_ = false;
};

// How many IO addresses the list needs. 0 for none.
absl::StatusOr<std::uint64_t> BytesNeeded(const PhyrList& list, std::uint64_t granule) {
  IovaLayout layout(granule);
  for (const Phyr& entry : list) {
    if (!entry.Has(PhyrFlags::kBusAddress)) layout.Place(entry);
  }
  if (!layout.overflowed()) return layout.bytes();
  return absl::ResourceExhaustedError("the list is longer than there are IO addresses; map less");
}

// Adds what the IOMMU is to show for an entry, in whole granules. Unless it is `fresh`, it goes on
// with what was added last, and may begin in the same granule.
void Translate(std::uint64_t iova, const Phyr& entry, bool fresh, std::uint64_t granule,
               std::vector<DmaTranslation>& translations) {
  const std::uint64_t within = granule - 1;
  const std::uint64_t length_max = Phyr::kMaxLength & ~within;  // Of one translation.
  const std::uint64_t last = entry.last() | within;
  std::uint64_t at = entry.address() & ~within;
  iova &= ~within;
  if (!fresh) {
    Phyr& before = translations.back().memory;
    const PhyrFlags flags = before.flags() & entry.flags();
    const std::uint64_t more =
        std::min(last - before.last(), length_max - before.length());  // 0: in the same granule.
    iova = translations.back().iova + before.length() + more;
    before = Phyr(before.address(), before.length() + more, flags);
    if (before.last() == last) return;
    at = before.last() + 1;
  }
  for (bool all = false; !all;) {
    all = last - at < length_max;
    const std::uint64_t length = all ? last - at + 1 : length_max;
    translations.push_back({iova, Phyr(at, length, entry.flags())});
    iova += length;
    at += length;
  }
}

absl::Status TooMany(const PhyrList& list, std::span<const Phyr> segments, std::size_t max) {
  std::uint64_t bytes = 0;
  for (const Phyr& segment : segments.first(max)) bytes += segment.length();
  std::size_t entry = 0;
  for (; bytes >= list[entry].length(); ++entry) bytes -= list[entry].length();
  return absl::OutOfRangeError(absl::StrFormat(
      "%s has bytes behind segment %d, the last that the device takes; map less at once",
      NameOf(list, entry), max));
}

}  // namespace

DmaMapping::DmaMapping(DmaMapping&& other) noexcept
    : segments_(std::exchange(other.segments_, {})),
      translations_(std::exchange(other.translations_, {})),
      space_(std::exchange(other.space_, nullptr)),
      iova_(other.iova_) {}

DmaMapping& DmaMapping::operator=(DmaMapping&& other) noexcept {
  if (this == &other) return *this;
  DmaUnmap(*this);
  segments_ = std::exchange(other.segments_, {});
  translations_ = std::exchange(other.translations_, {});
  space_ = std::exchange(other.space_, nullptr);
  iova_ = other.iova_;
  return *this;
}

DmaMapping::~DmaMapping() {
  DmaUnmap(*this);
}

absl::StatusOr<DmaMapping> DmaMap(const PhyrList& list, const DmaLimits& limits) {
  if (absl::Status status = Check(list, limits); !status.ok()) return status;
  DmaMapping mapping;  // Unmaps on an error.
  const std::uint64_t granule = limits.iova == nullptr ? 1 : limits.iova->granule();
  if (limits.iova != nullptr) {
    const absl::StatusOr<std::uint64_t> bytes = BytesNeeded(list, granule);
    if (!bytes.ok()) return bytes.status();
    if (*bytes != 0) {
      const absl::StatusOr<std::uint64_t> iova = limits.iova->Allocate(*bytes, limits.mask);
      if (!iova.ok()) return iova.status();
      mapping.space_ = limits.iova;
      mapping.iova_ = *iova;
    }
  }
  IovaLayout layout(granule);
  Segmenter segmenter(limits, mapping.segments_);
  mapping.segments_.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Phyr& entry = list[i];
    if (limits.iova == nullptr || entry.Has(PhyrFlags::kBusAddress)) {
      segmenter.Add(entry);
    } else {
      const std::uint64_t address = mapping.iova_ + layout.Place(entry);
      Translate(address, entry, layout.fresh(), granule, mapping.translations_);
      segmenter.Add(Phyr(address, entry.length(), entry.flags()));
    }
  }
  segmenter.Close();
  const bool too_many = limits.max_segments != 0 && mapping.segments_.size() > limits.max_segments;
  if (too_many) return TooMany(list, mapping.segments_, limits.max_segments);
  return mapping;
}

void DmaUnmap(DmaMapping& mapping) {
  if (mapping.space_ != nullptr) {
    mapping.space_->Free(mapping.iova_).IgnoreError();  // Unless somebody else freed it: ours.
    mapping.space_ = nullptr;
  }
  mapping.segments_.clear();
  mapping.translations_.clear();
}

}  // namespace linchpin
