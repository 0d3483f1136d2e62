// BestPageSize: the rule of ib_umem_find_best_pgsz, on physical ranges of bytes.
#include <cstddef>

#include "absl/strings/str_format.h"

#include "linchpin/phyr.h"

namespace linchpin {
namespace {

constexpr int kBits = 64;

// Bits up to and including `bit`.
constexpr std::uint64_t UpTo(int bit) {
  return bit >= kBits - 1 ? ~std::uint64_t{0} : (std::uint64_t{2} << bit) - 1;
}

absl::Status Check(const PhyrList& list, std::uint64_t iova, std::uint64_t supported) {
  if (list.empty()) return absl::InvalidArgumentError("an empty list has no translation");
  if (supported == 0) {
    return absl::InvalidArgumentError("no page size is supported; give a bit for each, in bytes");
  }
  if (list.length() == PhyrList::kMaxLength || iova + (list.length() - 1) < iova) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d bytes from IO address %#x on go beyond the last address; begin lower",
                        list.length(), iova));
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].Has(kPlaceless)) continue;
    return absl::FailedPreconditionError(
        absl::StrFormat("entry %d of the list, %s, is not in memory; touch it, or register it", i,
                        list[i].ToString()));
  }
  return absl::OkStatus();
}

// Neighbours in a list may be so although their flags differ.
bool Adjacent(const Phyr& before, const Phyr& entry) {
  return before.placed() && entry.placed() && before.last() < entry.address() &&
         before.last() + 1 == entry.address();
}

// The page sizes that are no larger than needed to cover all of it with one.
std::uint64_t Useful(std::uint64_t length, std::uint64_t iova, std::uint64_t supported) {
  const std::uint64_t differing = iova ^ (iova + (length - 1));
  const int covering = differing == 0 ? 0 : kBits - __builtin_clzll(differing);
  const std::uint64_t larger = covering >= kBits ? 0 : supported & ~(UpTo(covering) >> 1);
  if (larger == 0) return supported;
  return supported & UpTo(__builtin_ctzll(larger));  // One of them covers it.
}

}  // namespace

absl::StatusOr<PageSizeChoice> BestPageSize(const PhyrList& list, std::uint64_t iova,
                                            std::uint64_t supported) {
  if (absl::Status status = Check(list, iova, supported); !status.ok()) return status;
  std::uint64_t sizes = Useful(list.length(), iova, supported);
  std::uint64_t at = iova;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Phyr& entry = list[i];
    std::uint64_t differing = 0;
    if (i == 0 || !Adjacent(list[i - 1], entry))
      differing = (entry.address() ^ at) | (i == 0 ? 0 : at);
    if (entry.Has(PhyrFlags::kUnknownAddress)) {
      differing = (differing & (entry.granule() - 1)) | entry.granule();
    }
    if (differing != 0) sizes &= UpTo(__builtin_ctzll(differing));
    if (sizes == 0) {
      return absl::FailedPreconditionError(absl::StrFormat(
          "entry %d of the list, %s, would be at IO address %#x, which no supported page size "
          "(%#x) can translate; let the IO address agree with the physical one, or register whole "
          "pages",
          i, entry.ToString(), at, supported));
    }
    at += entry.length();
  }
  const int shift = kBits - 1 - __builtin_clzll(sizes);
  const std::uint64_t last = iova + (list.length() - 1);
  return PageSizeChoice{std::uint64_t{1} << shift, (last >> shift) - (iova >> shift) + 1};
}

}  // namespace linchpin
