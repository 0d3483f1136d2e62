// Pin: the physical ranges behind it, with what only the pin knows of them.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"

#include "lib/pin/pin.h"
#include "linchpin/phyr.h"

namespace linchpin::internal {
namespace {

PhyrFlags FlagsOf(PinKind kind) {
  switch (kind) {
    case PinKind::kTransient:
      return PhyrFlags::kPinned;
    case PinKind::kLongterm:
      return PhyrFlags::kPinned | PhyrFlags::kLongterm;
    case PinKind::kOnDemand:
      return PhyrFlags::kOnDemand;
    case PinKind::kFrameOnly:
      break;
  }
  return PhyrFlags::kNone;
}

// Returns: `list`, which is of the memory from `start` on, with what lies in `written` marked. An
// entry of unknown address is one page, and is marked if any of it was written: of a part of it
// nobody could say any more that it goes on with the rest.
PhyrList MarkedDirty(const PhyrList& list, std::uintptr_t start,
                     const std::vector<Range>& written) {
  PhyrList marked;
  auto range = written.begin();
  std::uintptr_t at = start;
  for (const Phyr& entry : list) {
    const std::uintptr_t end = at + entry.length();
    for (std::uintptr_t from = at; from < end;) {
      while (range != written.end() && range->end <= from) ++range;
      const bool whole = range == written.end() || range->start >= end || entry.Has(kPlaceless) ||
                         entry.Has(PhyrFlags::kUnknownAddress);
      const bool dirty = range != written.end() && range->start < (whole ? end : from + 1) &&
                         !entry.Has(kPlaceless);
      std::uintptr_t to = end;
      if (!whole) to = std::min(end, dirty ? range->end : range->start);
      const Phyr part = entry.Part(from - at, to - from);
      marked.Append(Phyr(part.address(), part.length(),
                         dirty ? part.flags() | PhyrFlags::kDirty : part.flags()));
      from = to;
    }
    at = end;
  }
  return marked;
}

}  // namespace

absl::StatusOr<PhyrList> Pin::Phyrs() const {
  if (!IsOurs() || revoked()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the pin of ", range_.ToString(),
        IsOurs() ? " was taken back with its PinFile; make a new one"
                 : " belongs to the process that this one was forked from; ask there"));
  }
  absl::StatusOr<PhyrList> list = ReadPhyrs(range_, {.add = FlagsOf(kind_)});
  if (!list.ok()) return list;
  return MarkedDirty(*list, range_.start, dirty());
}

}  // namespace linchpin::internal
