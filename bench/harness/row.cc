// Numbers in JSON are what was measured; those in the table are rounded for reading.
#include "bench/harness/row.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"

#include "nlohmann/json.hpp"

namespace linchpin::bench {
namespace {

using Json = nlohmann::ordered_json;

double Summarise(const std::vector<double>& values, Summary summary) {
  return Percentile(values, summary == Summary::kLargest ? 1.0 : 0.5);
}

// A value that a person can compare at a glance: four digits, whatever its size.
std::string Rounded(double value) {
  return value < 1000 ? absl::StrFormat("%.4g", value) : absl::StrFormat("%.0f", value);
}

Json RowToJson(const Row& row) {
  Json json = {{"name", row.name},         {"contender", row.contender},
               {"baseline", row.baseline}, {"ratio", nullptr},
               {"p10", nullptr},           {"p90", nullptr},
               {"rounds", row.rounds},     {"contender_ns", nullptr},
               {"baseline_ns", nullptr},   {"unit", row.unit}};
  if (row.ratio) {
    json["ratio"] = row.ratio->median;
    json["p10"] = row.ratio->p10;
    json["p90"] = row.ratio->p90;
    json["contender_ns"] = row.contender_value;
    json["baseline_ns"] = row.baseline_value;
  }
  if (!row.note.empty()) json["note"] = row.note;
  return json;
}

struct Widths {
  int name = 4;
  int contender = 9;
  int baseline = 8;
};

Widths WidthsOf(const std::vector<Row>& rows) {
  const auto widen = [](int& width, const std::string& text) {
    width = std::max(width, static_cast<int>(text.size()));
  };
  Widths widths;
  for (const Row& row : rows) {
    widen(widths.name, row.name);
    widen(widths.contender, row.contender);
    widen(widths.baseline, row.baseline);
  }
  return widths;
}

std::string TableLine(const Row& row, const Widths& widths) {
  std::string line = absl::StrFormat("%-*s  %-*s  %-*s ", widths.name, row.name, widths.contender,
                                     row.contender, widths.baseline, row.baseline);
  if (!row.ratio) return line + " not measured: " + row.note + "\n";
  line +=
      absl::StrFormat("%8s  %-20s %12s %12s  %s", Rounded(row.ratio->median),
                      absl::StrFormat("[%s, %s]", Rounded(row.ratio->p10), Rounded(row.ratio->p90)),
                      Rounded(row.contender_value), Rounded(row.baseline_value), row.unit);
  return line + "\n";
}

}  // namespace

Row Compare(std::string name, const Samples& contender, const Samples& baseline,
            const Comparison& comparison) {
  Row row{.name = std::move(name),
          .contender = contender.name,
          .baseline = baseline.name,
          .ratio = {},
          .unit = comparison.unit,
          .note = contender.absent.empty() ? baseline.absent : contender.absent};
  if (!row.note.empty()) return row;
  const std::vector<double>& own = contender.metrics[comparison.metric];
  const std::vector<double>& other = baseline.metrics[comparison.metric];
  row.ratio = RatioOf(own, other);
  row.rounds = own.size();
  row.contender_value = Summarise(own, comparison.summary);
  row.baseline_value = Summarise(other, comparison.summary);
  return row;
}

std::vector<Row> CompareFirst(const std::string& name, const std::vector<Samples>& contenders,
                              const Comparison& comparison) {
  std::vector<Row> rows;
  for (std::size_t i = 1; i < contenders.size(); ++i) {
    rows.push_back(Compare(name, contenders[0], contenders[i], comparison));
  }
  return rows;
}

Row CompareWithNumber(std::string name, const Samples& contender, std::string baseline,
                      double number, const Comparison& comparison) {
  Samples constant{.name = std::move(baseline), .absent = {}, .metrics = {}};
  for (const std::vector<double>& metric : contender.metrics) {
    constant.metrics.emplace_back(metric.size(), number);
  }
  return Compare(std::move(name), contender, constant, comparison);
}

std::string ToTable(const std::vector<Row>& rows) {
  const Widths widths = WidthsOf(rows);
  std::string table = absl::StrFormat("%-*s  %-*s  %-*s %8s  %-20s %12s %12s\n", widths.name,
                                      "what", widths.contender, "contender", widths.baseline,
                                      "baseline", "ratio", "[p10, p90]", "contender", "baseline");
  for (const Row& row : rows) table += TableLine(row, widths);
  return table;
}

std::string ToJson(const std::string& benchmark, const std::vector<Row>& rows,
                   const std::vector<std::string>& notes) {
  Json json = {{"benchmark", benchmark}, {"rows", Json::array()}, {"notes", notes}};
  for (const Row& row : rows) json["rows"].push_back(RowToJson(row));
  return json.dump(2) + "\n";
}

}  // namespace linchpin::bench
