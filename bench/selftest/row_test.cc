// Rows, as tables and as JSON.
#include "bench/harness/row.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "nlohmann/json.hpp"

namespace linchpin::bench {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Samples Of(const std::string& name, const std::vector<double>& values) {
  return {.name = name, .absent = {}, .metrics = {values}};
}

TEST(Compare, TakesTheMedianOfEachAndOfTheRatios) {
  const Row row = Compare("hot", Of("a", {1, 2, 9}), Of("b", {2, 8, 9}));
  EXPECT_EQ(row.rounds, 3U);
  EXPECT_DOUBLE_EQ(row.contender_value, 2);
  EXPECT_DOUBLE_EQ(row.baseline_value, 8);
  EXPECT_DOUBLE_EQ(row.ratio->median, 0.5);
}

TEST(Compare, ShowsTheLongestOfAllRoundsWhereAsked) {
  const Row row =
      Compare("stall", Of("a", {1, 2, 9}), Of("b", {2, 8, 3}), {.summary = Summary::kLargest});
  EXPECT_DOUBLE_EQ(row.contender_value, 9);
  EXPECT_DOUBLE_EQ(row.baseline_value, 8);
}

TEST(Compare, SaysWhyThereIsNoRatio) {
  const Samples absent{.name = "b", .absent = "not installed", .metrics = {}};
  const Row row = Compare("hot", Of("a", {1}), absent);
  EXPECT_FALSE(row.ratio.has_value());
  EXPECT_EQ(row.note, "not installed");
  EXPECT_THAT(ToTable({row}), HasSubstr("not measured: not installed"));
}

TEST(CompareFirst, GivesARowForEachOfTheOthers) {
  const std::vector<Samples> contenders = {Of("a", {1}), Of("b", {2}), Of("c", {4})};
  const std::vector<Row> rows = CompareFirst("hot", contenders, {.unit = "bytes"});
  ASSERT_EQ(rows.size(), 2U);
  for (const Row& row : rows) {
    EXPECT_EQ(row.name, "hot");
    EXPECT_EQ(row.contender, "a");
    EXPECT_EQ(row.unit, "bytes");
  }
  EXPECT_EQ(rows[0].baseline, "b");
  EXPECT_EQ(rows[1].baseline, "c");
  EXPECT_DOUBLE_EQ(rows[1].ratio->median, 0.25);
}

TEST(CompareWithNumber, DividesEachRoundByTheNumber) {
  const Row row =
      CompareWithNumber("memory", Of("a", {100, 120, 140}), "the goal", 160, {.unit = "bytes"});
  EXPECT_DOUBLE_EQ(row.ratio->median, 0.75);
  EXPECT_DOUBLE_EQ(row.baseline_value, 160);
  EXPECT_EQ(row.unit, "bytes");
}

TEST(ToJson, HasTheKeysThatTheDocumentNames) {
  const Row row = Compare("hot", Of("a", {1}), Of("b", {2}));
  const json parsed = json::parse(ToJson("hit_bench", {row}, {"a note"}));
  EXPECT_EQ(parsed["benchmark"], "hit_bench");
  EXPECT_EQ(parsed["notes"][0], "a note");
  const json expected = {{"name", "hot"}, {"contender", "a"},    {"baseline", "b"},
                         {"ratio", 0.5},  {"p10", 0.5},          {"p90", 0.5},
                         {"rounds", 1},   {"contender_ns", 1.0}, {"baseline_ns", 2.0},
                         {"unit", "ns"}};
  EXPECT_EQ(parsed["rows"], json::array({expected}));
}

TEST(ToJson, HasNullsWhereNothingWasMeasured) {
  const Samples absent{.name = "b", .absent = "not installed", .metrics = {}};
  const json parsed = json::parse(ToJson("hit_bench", {Compare("hot", Of("a", {1}), absent)}, {}));
  EXPECT_TRUE(parsed["rows"][0]["ratio"].is_null());
  EXPECT_TRUE(parsed["rows"][0]["baseline_ns"].is_null());
  EXPECT_EQ(parsed["rows"][0]["note"], "not installed");
}

}  // namespace
}  // namespace linchpin::bench
