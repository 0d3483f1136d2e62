// Pin: the physical ranges behind it, with what only the pin knows of them.
#include <cstdint>

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
  PhyrList marked;
  std::uintptr_t at = range_.start;
  const auto append = [&](std::uintptr_t end, PhyrFlags flags) {
    marked.Append(list->Slice(at - range_.start, end - at)->With(flags));
    at = end;
  };
  for (const Range& written : dirty()) {
    append(written.start, PhyrFlags::kNone);
    append(written.end, PhyrFlags::kDirty);
  }
  if (at == range_.start) return list;
  append(range_.end, PhyrFlags::kNone);
  return marked;
}

}  // namespace linchpin::internal
