// `linchpin demo` on every device there is.
#include <algorithm>
#include <string>

#include "gtest/gtest.h"

#include "tests/apps/tool.h"

namespace linchpin::testing {
namespace {

class Demo : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (const std::string reason = WhyNotUsable(GetParam()); !reason.empty()) {
      GTEST_SKIP() << reason;
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Each, Demo, ::testing::ValuesIn(Devices()),
                         [](const auto& test) { return test.param; });

TEST_P(Demo, TheNaiveCacheSendsOldBytesAndLinchpinNewOnes) {
  const ToolRun run = RunTool({"demo", "-d", GetParam(), "--json"});
  ASSERT_EQ(run.status, 0) << run.err;
  const nlohmann::json json = run.json();
  ASSERT_TRUE(json.is_object()) << run.out;
  EXPECT_EQ(json["device"], GetParam());
  EXPECT_EQ(json["naive"]["before"], "OLD");
  EXPECT_EQ(json["naive"]["after"], "OLD");
  EXPECT_EQ(json["naive"]["registrations"], 1);
  EXPECT_EQ(json["linchpin"]["before"], "OLD");
  EXPECT_EQ(json["linchpin"]["after"], "NEW");
  EXPECT_EQ(json["linchpin"]["registrations"], 2);
  EXPECT_EQ(json["problem_shown"], true);
  EXPECT_EQ(json["linchpin_right"], true);
  if (MemoryIsWatched()) {
    EXPECT_EQ(json["linchpin"]["invalidations"], 1);
  }
}

TEST_P(Demo, TellsItInAboutTenLines) {
  const ToolRun run = RunTool({"demo", "-d", GetParam()});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_LE(std::count(run.out.begin(), run.out.end(), '\n'), 10) << run.out;
  EXPECT_NE(run.out.find("verdict: the naive cache sent bytes that are gone"), std::string::npos)
      << run.out;
}

}  // namespace
}  // namespace linchpin::testing
