// Numbers in JSON are what was measured; those in the table are rounded for reading.
#include "apps/linchpin/bench/table.h"

#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "nlohmann/json.hpp"

namespace linchpin {
namespace {

using Json = nlohmann::ordered_json;

Json RowToJson(const BenchRow& row) {
  Json json = {{"operation", ToString(row.operation)},
               {"size_bytes", row.size_bytes},
               {"strategy", ToString(row.strategy)},
               {"mb_per_s", row.mb_per_s},
               {"messages_per_s", row.messages_per_s},
               {"registrations", row.registrations},
               {"hit_rate", row.hit_rate},
               {"ratio_to_prereg", nullptr},
               {"bytes_verified", row.bytes_verified},
               {"bytes_wrong", row.bytes_wrong},
               {"ratio_p10", nullptr},
               {"ratio_p90", nullptr},
               {"iterations", row.iterations},
               {"rounds", row.rounds}};
  if (row.ratio) {
    json["ratio_to_prereg"] = row.ratio->median;
    json["ratio_p10"] = row.ratio->p10;
    json["ratio_p90"] = row.ratio->p90;
  }
  return json;
}

}  // namespace

std::string TableHead(const BenchOptions& options, const std::string& device) {
  return absl::StrFormat(
      "RDMA %s on %s, up to %d outstanding; medians of interleaved rounds; MB is 2^20 bytes\n"
      "%10s %11s %-8s %10s %10s %13s %8s  %-21s  %s\n",
      ToString(options.operation), device, options.depth, "bytes", "iterations", "strategy", "MB/s",
      "Mmsg/s", "registrations", "hit rate", "of prereg [p10, p90]", "bytes verified");
}

std::string TableLine(const BenchRow& row) {
  const std::string ratio = row.ratio ? absl::StrFormat("%.3f [%.3f, %.3f]", row.ratio->median,
                                                        row.ratio->p10, row.ratio->p90)
                                      : std::string("-");
  const std::string wrong =
      row.bytes_wrong == 0 ? std::string() : absl::StrFormat(", %d WRONG", row.bytes_wrong);
  return absl::StrFormat("%10d %11d %-8s %10.2f %10.6f %13d %8.4f  %-21s  %d%s\n", row.size_bytes,
                         row.iterations, ToString(row.strategy), row.mb_per_s,
                         row.messages_per_s / 1e6, row.registrations, row.hit_rate, ratio,
                         row.bytes_verified, wrong);
}

std::string ToJson(const std::string& device, const std::vector<BenchRow>& rows) {
  Json json = {{"device", device}, {"rows", Json::array()}};
  for (const BenchRow& row : rows) json["rows"].push_back(RowToJson(row));
  return json.dump(2) + "\n";
}

}  // namespace linchpin
