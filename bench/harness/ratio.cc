#include "bench/harness/ratio.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace linchpin::bench {

double Percentile(std::vector<double> values, double fraction) {
  const auto at = static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

Ratio RatioOf(const std::vector<double>& contender, const std::vector<double>& baseline) {
  std::vector<double> ratios;
  ratios.reserve(contender.size());
  for (std::size_t i = 0; i < contender.size(); ++i) ratios.push_back(contender[i] / baseline[i]);
  return {.median = Percentile(ratios, 0.5),
          .p10 = Percentile(ratios, 0.1),
          .p90 = Percentile(ratios, 0.9)};
}

}  // namespace linchpin::bench
