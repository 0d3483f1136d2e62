// Cuts are made where they cost least: at the longest region there can be, and at the borders of
// regions there are, because what is registered already need not be registered again. Only when a
// piece is refused, at the borders of mappings too, from there on: some devices register one
// mapping at a time, or some kinds of them not together.
#include "lib/io/acquire_pieces.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "lib/memory/procmap.h"

namespace linchpin::internal {
namespace {

class PieceCutter final {
 public:
  PieceCutter(RegistrationCache& cache, const PiecesRequest& request)
      : cache_(cache), request_(request) {}

  // The next piece. Requires: `at` is within the range.
  Range Next(std::uintptr_t at) const {
    Range piece{at, std::min(request_.range.end, Longest(at))};
    piece.end = cache_.NextBorder(piece, request_.access);
    if (!borders_) return piece;
    const auto next = std::upper_bound(borders_->begin(), borders_->end(), at);
    if (next != borders_->end()) piece.end = std::min(piece.end, *next);
    return piece;
  }

  // `piece` was refused. Returns: whether it can be made smaller, as Next then does.
  bool Refine(const Range& piece) {
    if (borders_) return false;
    const auto mappings = LookUpMappings({piece.start, request_.range.end});
    if (!mappings.ok()) return false;
    borders_.emplace();
    for (const Mapping& mapping : *mappings) {
      // Nothing is ever registered there: the rest need not be tried.
      if (mapping.kind == MappingKind::kHole) return false;
      borders_->push_back(mapping.range.end);
    }
    return borders_->front() < piece.end;
  }

 private:
  // As far as one region can reach, at the border of a page, so that pieces share none.
  std::uintptr_t Longest(std::uintptr_t at) const {
    const std::uint64_t most = cache_.max_region_bytes();
    if (most >= request_.range.end - at) return request_.range.end;
    const std::uintptr_t reach = at + most;
    const std::uintptr_t page = reach - reach % BasePageSize();
    return page > at ? page : reach;
  }

  RegistrationCache& cache_;
  const PiecesRequest& request_;
  std::optional<std::vector<std::uintptr_t>> borders_;  // Of mappings; none: not looked at yet.
};

}  // namespace

absl::StatusOr<std::vector<Lease>> AcquirePieces(RegistrationCache& cache,
                                                 const PiecesRequest& request) {
  const Range& range = request.range;
  std::vector<Lease> leases;
  PieceCutter cutter(cache, request);
  if (!request.refusal.ok()) {
    const bool smaller = cutter.Next(range.start) != range || cutter.Refine(range);
    if (!smaller || absl::IsAborted(request.refusal)) return request.refusal;
  }
  for (std::uintptr_t at = range.start; at < range.end;) {
    const Range piece = cutter.Next(at);
    absl::StatusOr<Lease> lease = cache.Acquire(reinterpret_cast<const void*>(piece.start),
                                                piece.size(), request.access, request.owner);
    if (lease.ok()) {
      leases.push_back(*std::move(lease));
      at = piece.end;
    } else if (absl::IsAborted(lease.status()) || !cutter.Refine(piece)) {
      return lease.status();
    }
  }
  return leases;
}

}  // namespace linchpin::internal
