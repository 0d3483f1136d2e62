// What the mappings under a range have in common, as far as watching goes.
#pragma once

#include <vector>

#include "absl/status/statusor.h"

#include "lib/memory/mapping.h"
#include "linchpin/monitor.h"

namespace linchpin {

// The watching table: what userfaultfd can be relied on to tell of a kind of mapping, once armed.
Coverage BestCoverage(MappingKind kind);

// Summary of `mappings`, which are all that `range` touches (see MappingReader::LookUpAll), each
// covered by `coverage` of its kind.
WatchedExtent Summarise(Range range, const std::vector<Mapping>& mappings,
                        Coverage (*coverage)(MappingKind));

// Looks at the maps and summarises; Unwatched when they cannot be read.
WatchedExtent SurveyRange(Range range, Coverage (*coverage)(MappingKind));

// The pages of `range`, of which nothing is known. Without a look at anything.
WatchedExtent Unwatched(Range range);

}  // namespace linchpin
