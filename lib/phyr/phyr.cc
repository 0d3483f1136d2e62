// Phyr and PhyrList.
#include "linchpin/phyr.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace linchpin {
namespace {

struct FlagName {
  PhyrFlags flag;
  const char* name;
};
constexpr FlagName kFlagNames[] = {
    {PhyrFlags::kPinned, "pinned"},      {PhyrFlags::kLongterm, "longterm"},
    {PhyrFlags::kOnDemand, "on-demand"}, {PhyrFlags::kBusAddress, "bus-address"},
    {PhyrFlags::kDevice, "device"},      {PhyrFlags::kHuge, "huge"},
    {PhyrFlags::kZeroPage, "zero-page"}, {PhyrFlags::kWritable, "writable"},
    {PhyrFlags::kDirty, "dirty"},        {PhyrFlags::kUnknownAddress, "unknown-address"},
    {PhyrFlags::kSwapped, "swapped"},    {PhyrFlags::kAbsent, "absent"},
};

absl::Status TooShort(const PhyrList& list, std::uint64_t offset, std::uint64_t length) {
  return absl::OutOfRangeError(absl::StrCat("the list has ", list.length(), " bytes, not ", length,
                                            " from byte ", offset, " on"));
}

template <typename Change>
PhyrList Reflagged(const PhyrList& list, Change change) {
  PhyrList changed;
  changed.Reserve(list.size());
  for (const Phyr& entry : list) {
    changed.Append(Phyr(entry.address(), entry.length(), change(entry.flags())));
  }
  return changed;
}

}  // namespace

namespace internal {

void EndForPhyr(std::uint64_t address, std::uint64_t length, PhyrFlags flags) {
  std::fputs(Phyr::Of(address, length, flags).status().ToString().c_str(), stderr);
  std::abort();
}

}  // namespace internal

std::string ToString(PhyrFlags flags) {
  std::string text;
  for (const FlagName& known : kFlagNames) {
    if (Any(flags & known.flag)) absl::StrAppend(&text, text.empty() ? "" : "|", known.name);
  }
  return text.empty() ? "none" : text;
}

absl::StatusOr<Phyr> Phyr::Of(std::uint64_t address, std::uint64_t length, PhyrFlags flags) {
  if (Fits(address, length, flags)) return Phyr(address, length, flags);
  if (length > kMaxLength) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a physical range of %d bytes is longer than one can be, %d; use several",
                        length, kMaxLength));
  }
  if (length != 0 && address + (length - 1) < address) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a physical range of %d bytes from %#x on goes beyond the last address", length, address));
  }
  if (static_cast<std::uint16_t>(flags) >> kFlagBits != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%#x has bits that are no PhyrFlags; there are %d",
                        static_cast<std::uint16_t>(flags), kFlagBits));
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "%#x is no address for %d bytes that are %s: absent and swapped memory has address 0, memory "
      "of unknown address its page's size plus the place within it",
      address, length, linchpin::ToString(flags)));
}

std::string Phyr::ToString() const {
  const std::string what = linchpin::ToString(flags());
  if (Has(kPlaceless)) return absl::StrFormat("nowhere, %d bytes %s", length(), what);
  if (Has(PhyrFlags::kUnknownAddress)) {
    return absl::StrFormat("somewhere + %#x, in a page of %d, %d bytes %s", address_ - granule(),
                           granule(), length(), what);
  }
  const std::uint64_t last_shown = length() == 0 ? address_ : last();
  return absl::StrFormat("[%#x, %#x] %d bytes %s", address_, last_shown, length(), what);
}

void PhyrList::Append(const PhyrList& list) {
  if (&list == this) return Append(PhyrList(list));
  for (const Phyr& entry : list) Append(entry);
}

void PhyrList::Clear() {
  entries_.clear();
  length_ = 0;
}

absl::StatusOr<PhyrList> PhyrList::Slice(std::uint64_t offset, std::uint64_t length) const {
  if (offset > length_ || length > length_ - offset) return TooShort(*this, offset, length);
  PhyrList slice;
  for (const Phyr& entry : entries_) {
    if (length == 0) break;
    if (offset >= entry.length()) {
      offset -= entry.length();
      continue;
    }
    const std::uint64_t rest = entry.length() - offset;
    const std::uint64_t part = rest < length ? rest : length;
    slice.Append(entry.Part(offset, part));
    length -= part;
    offset = 0;
  }
  return slice;
}

absl::StatusOr<std::pair<PhyrList, PhyrList>> PhyrList::Split(std::uint64_t offset) const {
  absl::StatusOr<PhyrList> head = Slice(0, offset);
  if (!head.ok()) return head.status();
  return std::pair{*std::move(head), *Slice(offset, length_ - offset)};
}

PhyrList PhyrList::With(PhyrFlags added) const {
  return Reflagged(*this, [=](PhyrFlags flags) { return flags | (added & ~kAddressFlags); });
}

PhyrList PhyrList::Without(PhyrFlags removed) const {
  return Reflagged(*this, [=](PhyrFlags flags) { return flags & ~(removed & ~kAddressFlags); });
}

}  // namespace linchpin
