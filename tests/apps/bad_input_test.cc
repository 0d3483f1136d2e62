// What the tool says to a command line that makes no sense: one clear line, and nothing else.
#include <sys/resource.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/apps/tool.h"

namespace linchpin::testing {
namespace {

constexpr int kUsage = 1;
constexpr int kUnusable = 2;

struct BadInput {
  std::vector<std::string> arguments;
  int status;
  std::string said;  // Part of the line.
};

const BadInput kBadInputs[] = {
    {{}, kUsage, "subcommand"},
    {{"bench"}, kUsage, "subcommand"},
    {{"nonsense"}, kUsage, "nonsense"},
    {{"--nonsense"}, kUsage, "--nonsense"},
    {{"bench", "copy"}, kUsage, "copy"},
    {{"bench", "write", "--one", "--two"}, kUsage, "--one --two"},
    {{"bench", "write", "-z"}, kUsage, "-z"},
    {{"bench", "write", "surplus"}, kUsage, "surplus"},
    {{"bench", "write", "read"}, kUsage, "read"},
    {{"bench", "write", "-d", "nonsense"}, kUsage, "nonsense"},
    {{"bench", "write", "-d", ""}, kUsage, "--device"},
    {{"bench", "write", "-d"}, kUsage, "--device"},
    {{"bench", "write", "-d", "no\nsense"}, kUsage, "no sense"},
    {{"bench", "write", "-s", "0"}, kUsage, "\"0\" is not a size"},
    {{"bench", "write", "-s", "0K"}, kUsage, "\"0K\" is not a size"},
    {{"bench", "write", "-s", "-1"}, kUsage, "\"-1\" is not a size"},
    {{"bench", "write", "-s", "K"}, kUsage, "\"K\" is not a size"},
    {{"bench", "write", "-s", ""}, kUsage, "\"\" is not a size"},
    {{"bench", "write", "-s", "64KB"}, kUsage, "\"64KB\" is not a size"},
    {{"bench", "write", "-s", "6 4"}, kUsage, "\"6 4\" is not a size"},
    {{"bench", "write", "-s", "0x40"}, kUsage, "\"0x40\" is not a size"},
    {{"bench", "write", "-s", "1T"}, kUnusable, "1 TiB"},
    {{"bench", "write", "-s", "8388607T"}, kUnusable, "more memory"},
    {{"bench", "write", "-s", "8388608T"}, kUsage, "address space"},
    {{"bench", "write", "-s", "9223372036854775807"}, kUnusable, "more memory"},
    {{"bench", "write", "-s", "99999999999999999999"}, kUsage, "address space"},
    {{"bench", "write", "-s", "1", "-s", "2"}, kUsage, "--size"},
    {{"bench", "write", "-a", "-s", "64K"}, kUsage, "-a"},
    {{"bench", "write", "-n", "0"}, kUsage, "--iterations: \"0\""},
    {{"bench", "write", "-n", "-5"}, kUsage, "--iterations: \"-5\""},
    {{"bench", "write", "-n", "1e6"}, kUsage, "--iterations: \"1e6\""},
    {{"bench", "write", "-n", "99999999999999999999"}, kUsage, "--iterations"},
    {{"bench", "write", "--buffers", "0"}, kUsage, "--buffers: \"0\""},
    {{"bench", "write", "--buffers", "-1"}, kUsage, "--buffers: \"-1\""},
    {{"bench", "write", "--buffers", "1000000"}, kUsage, "--buffers"},
    {{"bench", "write", "--buffers", "65536", "-s", "1M"}, kUnusable, "more memory"},
    {{"bench", "write", "--depth", "0"}, kUsage, "--depth: \"0\""},
    {{"bench", "write", "--strategy", "fast"}, kUsage, "\"fast\""},
    {{"bench", "write", "--strategy", ""}, kUsage, "--strategy"},
    {{"bench", "write", "--strategy", "cached,"}, kUsage, "--strategy"},
    {{"bench", "write", "--strategy", "cached,prereg,cached"}, kUsage, "\"cached\" stands"},
    {{"demo", "-d", "nonsense"}, kUsage, "nonsense"},
    {{"demo", "-d", ""}, kUsage, "--device"},
    {{"demo", "--size", "1"}, kUsage, "--size"},
    {{"doctor", "--nonsense"}, kUsage, "--nonsense"},
    {{"doctor", "surplus"}, kUsage, "surplus"},
};

TEST(BadInput, EndsInOneClearLine) {
  for (const BadInput& input : kBadInputs) {
    std::string shown = "linchpin";
    for (const std::string& argument : input.arguments) shown += " '" + argument + "'";
    SCOPED_TRACE(shown);
    const ToolRun run = RunTool(input.arguments);
    EXPECT_EQ(run.status, input.status);
    EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
    EXPECT_NE(run.err.find(input.said), std::string::npos) << run.err;
    EXPECT_EQ(run.out, "");
  }
}

TEST(BadInput, IsFoundBeforeAnythingIsOpened) {
  // Without descriptors no device can be opened; the size is wrong all the same.
  ToolOptions options;
  options.before_exec = [] {
    const rlimit few{16, 16};
    return setrlimit(RLIMIT_NOFILE, &few) == 0;
  };
  const ToolRun run = RunTool({"bench", "write", "-s", "0"}, options);
  EXPECT_EQ(run.status, kUsage);
  EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
}

TEST(Tool, HelpAndVersionAreDataAndSuccess) {
  const ToolRun version = RunTool({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_TRUE(version.out.starts_with("linchpin ")) << version.out;
  EXPECT_EQ(version.err, "");
  const std::vector<std::string> helps[] = {
      {"--help"}, {"-h"}, {"bench", "--help"}, {"bench", "write", "--help"}, {"demo", "--help"}};
  for (const auto& arguments : helps) {
    const ToolRun help = RunTool(arguments);
    EXPECT_EQ(help.status, 0);
    EXPECT_NE(help.out.find("Usage"), std::string::npos) << help.out;
    EXPECT_EQ(help.err, "");
  }
}

TEST(Tool, OutputThatCannotBeWrittenIsAnError) {
  ToolOptions options;
  options.output = "/dev/full";
  for (const char* subcommand : {"doctor", "--version", "--help"}) {
    const ToolRun run = RunTool({subcommand}, options);
    EXPECT_EQ(run.status, kUnusable) << subcommand;
    EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
    EXPECT_NE(run.err.find("standard output"), std::string::npos) << run.err;
  }
}

}  // namespace
}  // namespace linchpin::testing
