// A picture of contiguity: how many bytes are in runs of which size.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

#include "apps/linchpin/phyr/summary.h"

namespace linchpin {

// The memory of one colour. The name is text that we have written: it is not escaped.
struct PlotSeries {
  std::string name;
  Histogram histogram;
};

// Draws the series into `path`, as an SVG: bytes over size class, one bar for each class, made of
// the series. Returns: as RunGnuplot and WriteWholeFile.
absl::Status PlotContiguity(const std::string& path, const std::string& title,
                            const std::vector<PlotSeries>& series);

}  // namespace linchpin
