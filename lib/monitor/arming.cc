#include "lib/monitor/arming.h"

#include <algorithm>
#include <cerrno>

#include "lib/memory/procmap.h"
#include "lib/monitor/survey.h"

namespace linchpin {
namespace {

Coverage NoCoverage(MappingKind) {
  return Coverage::kNone;
}

// Whether each mapping of `before` lies in one mapping of `after` that is like it: some of them may
// have grown, or been joined by the kernel.
bool StillThere(const std::vector<Mapping>& before, const std::vector<Mapping>& after) {
  const auto is_in = [&after](const Mapping& mapping) {
    return std::any_of(after.begin(), after.end(), [&mapping](const Mapping& other) {
      return other.range.Contains(mapping.range) && other.kind == mapping.kind &&
             other.protection == mapping.protection && other.shared == mapping.shared;
    });
  };
  return std::all_of(before.begin(), before.end(), is_in);
}

Range Intersection(const Range& a, const Range& b) {
  return {std::max(a.start, b.start), std::min(a.end, b.end)};
}

}  // namespace

WatchedExtent Arming::Watch(Range range, bool look_again) {
  if (range.empty()) return Unwatched(range);
  WatchedExtent extent = Look(range, look_again);
  if (extent.coverage != Coverage::kAll || !extents_.InQuarantine(extent.range)) return extent;
  // Nothing but the pages asked for: what is around them may be in quarantine.
  const std::uintptr_t mask = extent.page_size - 1;
  extent.uniform = false;
  extent.range = {range.start & ~mask, std::min(extent.range.end, (range.end + mask) & ~mask)};
  if (extents_.InQuarantine(extent.range)) {
    extent.coverage = Coverage::kMappingChanges;
    extent.passing = true;
  }
  return extent;
}

WatchedExtent Arming::Look(Range range, bool look_again) {
  constexpr int kTries = 8;
  if (!look_again) {
    if (const auto known = extents_.Find(range)) return *known;
  }
  extents_.Forget(look_again ? range : Range{});
  WatchedExtent extent;
  for (int i = 0; i < kTries; ++i) {
    if (LookAndArm(range, &extent)) return extent;
  }
  // Others change the mappings faster than we can look at them.
  extent.coverage = Coverage::kNone;
  extent.passing = true;
  return extent;
}

// Returns: false when the range changed meanwhile.
//
//   settle, look, begin the probe, arm, look again, settle, was the probe touched?
//
// If it was not, then nothing armed here was unmapped between the arming and the second look; and a
// mapping that contains the whole of an armed range, some of which is still there, is armed as a
// whole. So what the second look saw is watched.
//
// MADV_DONTNEED and its like, whose event comes *before* the pages go, are the business of the
// quarantine.
bool Arming::LookAndArm(Range range, WatchedExtent* extent) {
  const bool settled = reader_.TrySettle();
  const auto mappings = LookUpMappings(range);
  if (!settled || !mappings.ok()) {
    *extent = Unwatched(range);
    extent->passing = true;
    return true;
  }
  *extent = Summarise(range, *mappings, BestCoverage);
  if (extent->coverage == Coverage::kNone) return true;

  const Range hull{mappings->front().range.start, mappings->back().range.end};
  const ExtentTable::Probe probe(extents_, hull);
  const bool armed = ArmAll(*mappings);
  const auto again = LookUpMappings(range);
  if (!again.ok() || !StillThere(*mappings, *again)) return false;
  *extent = Summarise(range, *again, armed ? BestCoverage : NoCoverage);
  if (!armed) return true;
  // The kernel may have joined a neighbour to it, which is not under the probe.
  if (extent->uniform) extent->range = Intersection(extent->range, hull);
  if (!reader_.TrySettle()) {
    extent->coverage = Coverage::kNone;
    extent->passing = true;
    return true;
  }
  return extents_.Publish(probe, *extent);
}

bool Arming::ArmAll(const std::vector<Mapping>& mappings) const {
  return std::all_of(mappings.begin(), mappings.end(),
                     [this](const Mapping& mapping) { return userfault_.Arm(mapping.range) == 0; });
}

void Arming::DisarmAll() {
  ExtentTable::Armed armed;
  do {
    // A mapping that mremap moves meanwhile is in the table after its event is told.
    armed = extents_.armed();
    for (const Range& range : armed.ranges) DisarmWithin(range);
    while (!reader_.TrySettle() && !reader_.failed()) {
      // Others still unmap what was armed; nothing new is, so they come to an end.
    }
  } while (extents_.armed().version != armed.version);
}

// What is armed by us and what by another userfaultfd looks alike, and before Linux 6.15 disarming
// does not ask. But arming does: it answers EBUSY for another's, and OK for what is ours already.
void Arming::DisarmWithin(Range range) const {
  constexpr int kTries = 8;
  while (!range.empty()) {
    auto mapping = LookUpMapping(range.start);
    if (!mapping.ok()) return;
    for (int i = 0; i < kTries && BestCoverage(mapping->kind) != Coverage::kNone; ++i) {
      const Range seen = mapping->range;
      if (userfault_.Arm(seen) == 0) {
        static_cast<void>(userfault_.Disarm(seen));  // Fails only where nothing is left of it.
        break;
      }
      // Another's, if it is still the same mapping; else some of it may be ours.
      mapping = LookUpMapping(range.start);
      if (!mapping.ok()) return;
      if (mapping->range == seen) break;
    }
    range.start = mapping->range.end;
  }
}

}  // namespace linchpin
