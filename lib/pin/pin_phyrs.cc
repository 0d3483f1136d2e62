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

Phyr Dirty(const Phyr& phyr) {
  return {phyr.address(), phyr.length(), phyr.flags() | PhyrFlags::kDirty};
}

// Appends `entry`, which is what `here` is in, cut where `written`, from `range` on, begins and
// ends.
void AppendCut(const Phyr& entry, const Range& here, std::vector<Range>::const_iterator range,
               const std::vector<Range>& written, PhyrList& list) {
  std::uintptr_t at = here.start;
  const auto append_to = [&](std::uintptr_t end, bool dirty) {
    const Phyr part = entry.Part(at - here.start, end - at);
    list.Append(dirty ? Dirty(part) : part);
    at = end;
  };
  for (; range != written.end() && range->start < here.end; ++range) {
    append_to(std::max(range->start, at), false);
    append_to(std::min(range->end, here.end), true);
  }
  append_to(here.end, false);
}

// Returns: `list`, which is of the memory from `start` on, with what lies in `written` marked. An
// entry of unknown address is one page, and is marked if any of it was written: of a part of it
// nobody could say any more that it goes on with the rest.
PhyrList MarkedDirty(const PhyrList& list, std::uintptr_t start,
                     const std::vector<Range>& written) {
  PhyrList marked;
  auto range = written.begin();
  for (const Phyr& entry : list) {
    const Range here{start, start + entry.length()};
    start = here.end;
    while (range != written.end() && range->end <= here.start) ++range;
    const bool any = range != written.end() && range->Overlaps(here);
    if (!any || entry.Has(kPlaceless)) {
      marked.Append(entry);
    } else if (entry.Has(PhyrFlags::kUnknownAddress)) {
      marked.Append(Dirty(entry));
    } else {
      AppendCut(entry, here, range, written, marked);
    }
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
