// The rows of a benchmark, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "apps/linchpin/bench/run.h"

namespace linchpin {

// The two lines above the rows.
std::string TableHead(const BenchOptions& options, const std::string& device);

// One line of the table, with its newline.
std::string TableLine(const BenchRow& row);

// {"device", "rows": [...]}, as linchpin(1) describes it.
std::string ToJson(const std::string& device, const std::vector<BenchRow>& rows);

}  // namespace linchpin
