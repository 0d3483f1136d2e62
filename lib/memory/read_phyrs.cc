// ReadPhyrs: the page map, with what the mappings say of the memory.
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "lib/memory/snapshot.h"
#include "lib/phyr/page_map.h"
#include "linchpin/phyr.h"

namespace linchpin {
namespace {

internal::PageMap::Kind KindOf(const MemoryPiece& piece) {
  internal::PageMap::Kind kind;
  kind.page_size = piece.mapping.page_size;
  if (kind.page_size != BasePageSize()) kind.flags |= PhyrFlags::kHuge;
  if (piece.target == PinTarget::kDevice) {
    kind.flags |= PhyrFlags::kDevice;
    kind.left_out = true;
  }
  if ((piece.mapping.protection & PROT_WRITE) != 0) kind.flags |= PhyrFlags::kWritable;
  return kind;
}

// A hole may be longer than one entry can be.
void AppendHole(Range hole, PhyrList& list) {
  for (std::uintptr_t at = hole.start; at != hole.end;) {
    const std::uint64_t length = std::min<std::uint64_t>(hole.end - at, Phyr::kMaxLength);
    list.Append(Phyr(0, length, PhyrFlags::kAbsent));
    at += length;
  }
}

}  // namespace

absl::StatusOr<PhyrList> ReadPhyrs(Range range, const ReadPhyrsOptions& options) {
  if (range.empty()) {
    return absl::InvalidArgumentError("a range without a byte has no place; give its length");
  }
  const auto map = internal::PageMap::Open(options.pid);
  if (!map.ok()) return map.status();
  const auto pieces = SnapshotMemory(options.pid, range);
  if (!pieces.ok()) return pieces.status();
  PhyrList list;
  for (const MemoryPiece& piece : *pieces) {
    if (piece.target == PinTarget::kHole) {
      AppendHole(piece.range, list);
      continue;
    }
    internal::PageMap::Kind kind = KindOf(piece);
    kind.flags |= options.add;
    if (absl::Status read = map->Read(piece.range, kind, list); !read.ok()) return read;
  }
  return list;
}

}  // namespace linchpin
