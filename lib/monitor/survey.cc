#include "lib/monitor/survey.h"

#include <algorithm>

#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

std::uintptr_t RoundDown(std::uintptr_t address, std::size_t unit) {
  return address - address % unit;
}

// Stops at the last page of the address space rather than wrap around.
std::uintptr_t RoundUp(std::uintptr_t address, std::size_t unit) {
  const std::uintptr_t rounded = RoundDown(address + unit - 1, unit);
  return rounded >= address ? rounded : address;
}

}  // namespace

Coverage BestCoverage(MappingKind kind) {
  switch (kind) {
    case MappingKind::kAnonymous:
      return Coverage::kAll;
    case MappingKind::kShmem:
    case MappingKind::kHugetlb:
    case MappingKind::kFilePrivate:
    case MappingKind::kFileShared:
      return Coverage::kMappingChanges;
    case MappingKind::kSysvShm:    // shmdt makes no event.
    case MappingKind::kSecretmem:  // Cannot be pinned either.
    case MappingKind::kSpecial:    // A driver takes pages away as it likes.
    case MappingKind::kHole:
      break;
  }
  return Coverage::kNone;
}

WatchedExtent Summarise(Range range, const std::vector<Mapping>& mappings,
                        Coverage (*coverage)(MappingKind)) {
  WatchedExtent extent;
  extent.coverage = Coverage::kAll;
  extent.page_size = BasePageSize();
  for (const Mapping& mapping : mappings) {
    extent.coverage = std::min(extent.coverage, coverage(mapping.kind));
    extent.page_size = std::max(extent.page_size, mapping.page_size);
    if (extent.inode == 0 && mapping.inode != 0) {
      extent.device = mapping.device;
      extent.inode = mapping.inode;
    }
  }
  if (mappings.size() == 1 && mappings.front().kind != MappingKind::kHole) {
    extent.uniform = true;
    extent.range = mappings.front().range;
  } else {
    extent.range = {RoundDown(range.start, mappings.front().page_size),
                    RoundUp(range.end, mappings.back().page_size)};
  }
  return extent;
}

WatchedExtent SurveyRange(Range range, Coverage (*coverage)(MappingKind)) {
  if (range.empty()) return Unwatched(range);
  const auto mappings = LookUpMappings(range);
  return mappings.ok() ? Summarise(range, *mappings, coverage) : Unwatched(range);
}

WatchedExtent Unwatched(Range range) {
  WatchedExtent unknown;
  unknown.page_size = BasePageSize();
  unknown.range = {RoundDown(range.start, unknown.page_size),
                   RoundUp(range.end, unknown.page_size)};
  return unknown;
}

}  // namespace linchpin
