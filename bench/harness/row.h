// The rows of a benchmark, for people and for programs.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "bench/harness/measure.h"
#include "bench/harness/ratio.h"

namespace linchpin::bench {

// One contender against one baseline. Without a ratio, `note` says why it was not measured.
struct Row {
  std::string name;
  std::string contender;
  std::string baseline;
  std::optional<Ratio> ratio;
  std::size_t rounds = 0;
  double contender_value = 0;
  double baseline_value = 0;
  std::string unit = "ns";
  std::string note = {};
};

// What stands for all rounds beside the ratio, which is always the median of theirs.
enum class Summary {
  kMedian,
  kLargest,  // For the longest stall there was.
};

struct Comparison {
  std::size_t metric = 0;
  Summary summary = Summary::kMedian;
  std::string unit = "ns";
};

// The row that compares two contenders by a metric that both have.
Row Compare(std::string name, const Samples& contender, const Samples& baseline,
            const Comparison& comparison = {});

// The rows that compare the first contender with each of the others.
std::vector<Row> CompareFirst(const std::string& name, const std::vector<Samples>& contenders,
                              const Comparison& comparison = {});

// The row that compares a contender with a number that was not measured, such as a goal.
Row CompareWithNumber(std::string name, const Samples& contender, std::string baseline,
                      double number, const Comparison& comparison);

// A table with its head, for people.
std::string ToTable(const std::vector<Row>& rows);

// {"benchmark", "rows": [...], "notes": [...]}, as docs/performance.md describes it.
std::string ToJson(const std::string& benchmark, const std::vector<Row>& rows,
                   const std::vector<std::string>& notes);

}  // namespace linchpin::bench
