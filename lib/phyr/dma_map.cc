#include "linchpin/dma_map.h"

#include <string>
#include <utility>

#include "absl/strings/str_format.h"

namespace linchpin {
namespace {

bool IsPowerOfTwoOrZero(std::uint64_t number) {
  return (number & (number - 1)) == 0;
}

absl::Status CheckLimits(const DmaLimits& limits) {
  if (!IsPowerOfTwoOrZero(limits.boundary) || !IsPowerOfTwoOrZero(limits.merge_granule)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("boundary %d and merge granule %d must be 0 or powers of two",
                        limits.boundary, limits.merge_granule));
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
    refused = "has no address that this process may see; read the list with CAP_SYS_ADMIN";
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
        length_max_(limits.max_segment == 0 ? Phyr::kMaxLength : limits.max_segment),
        across_(limits.boundary == 0 ? 0 : ~(limits.boundary - 1)),
        segments_(segments) {}

  void Add(Phyr piece) {
    if (Merges(piece)) {
      open_ = Phyr(open_.address(), open_.length() + piece.length(), open_.flags() & piece.flags());
      return;
    }
    Close();
    open_ = piece;
  }

  // To be called also once, last.
  void Close() {
    if (open_.length() == 0) return;
    const std::uint64_t differing = open_.address() ^ open_.last();
    if (open_.length() <= length_max_ && (differing & across_) == 0) {  // Most are.
      segments_.push_back(open_);
      return;
    }
    const PieceLimits limits{limits_.boundary, limits_.max_segment};
    for (const Phyr& segment : PhyrPieces({&open_, 1}, limits)) segments_.push_back(segment);
  }

 private:
  bool Merges(Phyr piece) const {
    if (open_.length() == 0 || limits_.merge_granule == 0) return false;
    if (open_.Has(PhyrFlags::kBusAddress) || piece.Has(PhyrFlags::kBusAddress)) return false;
    return open_.last() < piece.address() && open_.last() + 1 == piece.address() &&
           (piece.address() & (limits_.merge_granule - 1)) == 0 &&
           open_.length() <= Phyr::kMaxLength - piece.length();
  }

  const DmaLimits& limits_;
  const std::uint64_t length_max_;
  const std::uint64_t across_;  // The bits in which no two addresses of a segment may differ.
  std::vector<Phyr>& segments_;
  Phyr open_;
};

// Where the entries of a list lie in a range of IO addresses. Those that are one piece of physical
// memory are one piece there too, at the same place within a granule.
class IovaLayout final {
 public:
  explicit IovaLayout(std::uint64_t granule) : within_(granule - 1) {}

  // Places the next entry. Returns: its offset from the beginning of the range; no sense once it
  // overflowed.
  std::uint64_t Place(const Phyr& entry) {
    const bool goes_on = end_ != 0 && entry.address() == behind_;
    if (!goes_on) {
      next_ = (next_ + within_) & ~within_;
      next_ += entry.address() & within_;
    }
    const std::uint64_t offset = next_;
    overflowed_ |= __builtin_add_overflow(next_, entry.length(), &next_) ||
                   next_ > ~std::uint64_t{0} - within_;
    behind_ = entry.last() + 1;  // 0 behind the last address, where none begins that goes on.
    end_ = behind_ == 0 ? 0 : next_;
    fresh_ = !goes_on;
    return offset;
  }

  bool fresh() const { return fresh_; }  // Whether the entry placed last began a piece.
  bool overflowed() const { return overflowed_; }
  std::uint64_t bytes() const { return (next_ + within_) & ~within_; }

 private:
  const std::uint64_t within_;
  std::uint64_t next_ = 0;
  std::uint64_t end_ = 0;     // 0: nothing can go on.
  std::uint64_t behind_ = 0;  // The address behind the entry placed last.
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

// Adds what the IOMMU is to show for a piece of the list, in whole granules.
void Translate(std::uint64_t iova, const Phyr& entry, bool fresh, std::uint64_t granule,
               std::vector<DmaTranslation>& translations) {
  const std::uint64_t within = granule - 1;
  const std::uint64_t first = entry.address() & ~within;
  const std::uint64_t length = (entry.last() | within) - first + 1;
  if (fresh) {
    translations.push_back({iova & ~within, Phyr(first, length, entry.flags())});
    return;
  }
  DmaTranslation& open = translations.back();
  open.memory = Phyr(open.memory.address(), (entry.last() | within) - open.memory.address() + 1,
                     open.memory.flags() & entry.flags());
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
