// The arithmetic of a comparison: percentiles, and the ratio of two series taken round by round.
#pragma once

#include <vector>

namespace linchpin::bench {

// The value that `fraction` of `values` do not exceed (the nearest rank below). Requires: `values`
// is not empty, 0 <= fraction <= 1.
double Percentile(std::vector<double> values, double fraction);

// A contender's values over its baseline's, of the same rounds: below 1 the contender is better.
struct Ratio {
  double median = 0;
  double p10 = 0;
  double p90 = 0;
};

// Divides within each round, so that a clock or a neighbour that drifts cancels out.
// Requires: both have the same number of values, at least one.
Ratio RatioOf(const std::vector<double>& contender, const std::vector<double>& baseline);

}  // namespace linchpin::bench
