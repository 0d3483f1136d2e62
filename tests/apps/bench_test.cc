// `linchpin bench` on every device there is: what its rows say, and that they cannot contradict
// each other.
#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "nlohmann/json.hpp"
#include "tests/apps/tool.h"

namespace linchpin::testing {
namespace {

using Json = nlohmann::json;

class Bench : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string reason = WhyNotUsable(GetParam()); !reason.empty()) {
      GTEST_SKIP() << reason;
    }
  }

  // Runs `linchpin bench` on the device, and expects success.
  Json Rows(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "bench");
    arguments.insert(arguments.end(), {"-d", GetParam(), "--json"});
    const ToolRun run = RunTool(arguments);
    EXPECT_EQ(run.status, 0) << run.err;
    const Json json = run.json();
    EXPECT_TRUE(json.is_object()) << run.out;
    if (!json.is_object()) return Json::array();
    EXPECT_EQ(json.value("device", ""), GetParam());
    EXPECT_TRUE(json.value("rows", Json()).is_array()) << run.out;
    return json.value("rows", Json::array());
  }
};

INSTANTIATE_TEST_SUITE_P(Each, Bench, ::testing::ValuesIn(Devices()),
                         [](const auto& test) { return test.param; });

void ExpectSchema(const Json& row) {
  const std::set<std::string> numbers{"size_bytes",    "mb_per_s", "messages_per_s",
                                      "registrations", "hit_rate", "bytes_verified",
                                      "bytes_wrong"};
  for (const std::string& field : numbers) {
    ASSERT_TRUE(row.contains(field)) << field;
    EXPECT_TRUE(row[field].is_number()) << field;
  }
  EXPECT_TRUE(row.at("operation").is_string());
  EXPECT_TRUE(row.at("strategy").is_string());
  EXPECT_TRUE(row.at("ratio_to_prereg").is_number() || row.at("ratio_to_prereg").is_null());
}

// 110 transfers in 11 rounds of 10 over 4 buffers: each round transfers all buffers.
void ExpectRows(const Json& rows, const std::string& operation, std::uint64_t size) {
  const std::vector<std::string> strategies{"prereg", "cached", "per-op"};
  ASSERT_EQ(rows.size(), strategies.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Json& row = rows[i];
    SCOPED_TRACE(row.dump());
    ExpectSchema(row);
    EXPECT_EQ(row["operation"], operation);
    EXPECT_EQ(row["size_bytes"], size);
    EXPECT_EQ(row["strategy"], strategies[i]);
    EXPECT_EQ(row["bytes_verified"], std::uint64_t{11} * 4 * size);
    EXPECT_EQ(row["bytes_wrong"], 0);
    EXPECT_GT(row["messages_per_s"].get<double>(), 0);
    EXPECT_NEAR(row["mb_per_s"].get<double>(),
                row["messages_per_s"].get<double>() * static_cast<double>(size) / (1 << 20),
                1e-6 * row["mb_per_s"].get<double>());
    EXPECT_GT(row["ratio_to_prereg"].get<double>(), 0);
  }
  EXPECT_EQ(rows[0]["ratio_to_prereg"], 1.0);
  EXPECT_EQ(rows[0]["registrations"], 4);
  EXPECT_EQ(rows[0]["hit_rate"], 1.0);
  EXPECT_EQ(rows[2]["registrations"], 110);
  EXPECT_EQ(rows[2]["hit_rate"], 0.0);
}

TEST_P(Bench, WritesAndReadsArriveWhole) {
  for (const char* operation : {"write", "read"}) {
    // Not a power of two, not a multiple of a word, and over a page border.
    for (const std::uint64_t size : {2U, 4099U, 65536U}) {
      SCOPED_TRACE(size);
      ExpectRows(Rows({operation, "-s", std::to_string(size), "-n", "110", "--buffers", "4"}),
                 operation, size);
    }
  }
}

TEST_P(Bench, TheCacheRegistersEachBufferOnce) {
  if (!MemoryIsWatched()) GTEST_SKIP() << "nothing watches the memory, so nothing is kept";
  for (const char* operation : {"write", "read"}) {
    const Json rows =
        Rows({operation, "--strategy", "cached", "-n", "200", "--buffers", "5", "-s", "8K"});
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_GE(rows[0]["registrations"], 1);
    EXPECT_LE(rows[0]["registrations"], 5);
    EXPECT_GE(rows[0]["hit_rate"].get<double>(), 1 - 5.0 / 200);
    EXPECT_LT(rows[0]["hit_rate"].get<double>(), 1);
    EXPECT_TRUE(rows[0]["ratio_to_prereg"].is_null()) << "there is nothing to compare with";
  }
}

TEST_P(Bench, StrategiesComeInTheOrderAskedFor) {
  const Json rows = Rows({"write", "--strategy", "per-op,prereg", "-n", "11"});
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["strategy"], "per-op");
  EXPECT_EQ(rows[1]["strategy"], "prereg");
  EXPECT_TRUE(rows[0]["ratio_to_prereg"].is_number());
}

TEST_P(Bench, OneTransferOfOneBufferIsARun) {
  const Json rows = Rows({"read", "-n", "1", "--buffers", "1", "--depth", "1", "-s", "1"});
  ASSERT_EQ(rows.size(), 3U);
  for (const Json& row : rows) {
    EXPECT_EQ(row["bytes_verified"], 1);
    EXPECT_EQ(row["bytes_wrong"], 0);
  }
}

TEST_P(Bench, AllSizesRunFromTwoBytesToEightMegabytes) {
  const Json rows = Rows({"write", "-a", "-n", "2", "--strategy", "cached", "--buffers", "2"});
  ASSERT_EQ(rows.size(), 22U + 1);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i]["size_bytes"], std::uint64_t{2} << i);
    EXPECT_EQ(rows[i]["bytes_wrong"], 0);
  }
}

TEST_P(Bench, WithoutIterationsItRunsByTimeInElevenRoundsOrMore) {
  const Json rows = Rows({"write", "-s", "4K"});
  ASSERT_EQ(rows.size(), 3U);
  for (const Json& row : rows) {
    EXPECT_GE(row["rounds"], 11);
    EXPECT_GE(row["iterations"], row["rounds"]);
    EXPECT_LE(row["ratio_p10"].get<double>(), row["ratio_to_prereg"].get<double>());
    EXPECT_GE(row["ratio_p90"].get<double>(), row["ratio_to_prereg"].get<double>());
  }
}

TEST_P(Bench, TheTableHasALineForEachRow) {
  const ToolRun run = RunTool({"bench", "write", "-n", "22", "-s", "1K", "-d", GetParam()});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(std::count(run.out.begin(), run.out.end(), '\n'), 2 + 3) << run.out;
  for (const char* word : {"prereg", "cached", "per-op", "MB/s", "Mmsg/s", "hit rate"}) {
    EXPECT_NE(run.out.find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace linchpin::testing
