// `linchpin stat`: live counters of another process, and what is said when it does not answer.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "lib/pin/ledger.h"
#include "linchpin/cache.h"
#include "linchpin/loopback.h"
#include "tests/apps/tool.h"
#include "tests/pin/ledger_process.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {
namespace {

using internal::Ledger;
using internal::LedgerEntry;
using Json = nlohmann::json;
using Pause = LedgerProcess::Pause;

constexpr int kUsage = 1;
constexpr int kUnusable = 2;

// A process that publishes counters whenever somebody wants them, ever higher ones.
void AnswerForEver(const Pause& pause) {
  Ledger& ledger = Ledger::OfProcess();
  const LedgerEntry cache = ledger.AddCache("rxe0");
  pause();
  CacheStats stats;
  for (;; usleep(2000)) {
    stats.hits += 1000;
    stats.misses = 7;
    if (ledger.Wanted(cache)) ledger.Publish(cache, stats);
  }
}

std::vector<Json> Lines(const ToolRun& run) {
  std::vector<Json> lines;
  std::istringstream text(run.out);
  for (std::string line; std::getline(text, line);) {
    lines.push_back(Json::parse(line, nullptr, false));
    EXPECT_TRUE(lines.back().is_object()) << line;
  }
  return lines;
}

TEST(Stat, ShowsCountersAsTheyRise) {
  const LedgerProcess other(AnswerForEver);
  other.Go();
  const ToolRun run =
      RunTool({"stat", absl::StrCat(other.pid()), "-i", "0.1", "-n", "4", "--json"});
  EXPECT_EQ(run.status, 0) << run.err;
  const std::vector<Json> lines = Lines(run);
  ASSERT_EQ(lines.size(), 4U) << run.out;
  std::uint64_t hits = 0;
  for (const Json& line : lines) {
    EXPECT_EQ(line["pid"], other.pid());
    EXPECT_EQ(line["device"], "rxe0");
    EXPECT_EQ(line["fresh"], true);
    EXPECT_EQ(line["counters"]["misses"], 7);
    EXPECT_EQ(line["counters"].size(), sizeof(CacheStats) / sizeof(std::uint64_t));
    EXPECT_GT(line["counters"]["hits"], hits);
    hits = line["counters"]["hits"];
    if (&line == &lines.front()) {
      EXPECT_EQ(line["per_second"]["hits"], nullptr);
    } else {
      EXPECT_GT(line["per_second"]["hits"], 0);
      EXPECT_EQ(line["per_second"]["misses"], 0);
    }
  }
}

TEST(Stat, ShowsTheCountersOfARealCache) {
  if (const std::string why = WhyNotUsable("loopback"); !why.empty()) GTEST_SKIP() << why;
  const LedgerProcess other([](const Pause& pause) {
    const auto device = LoopbackDevice::Create();
    LINCHPIN_CHECK(device.ok());
    auto cache = RegistrationCache::Create(*device);
    LINCHPIN_CHECK(cache.ok());
    void* const memory =
        mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 1000; ++i) {
      LINCHPIN_CHECK((*cache)->Acquire(memory, 65536, Access::kLocalWrite).ok());
    }
    const auto held = (*cache)->Acquire(memory, 65536, Access::kLocalWrite);
    pause();
  });
  const ToolRun run = RunTool({"stat", absl::StrCat(other.pid()), "-n", "1", "--json"});
  const std::vector<Json> lines = Lines(run);
  ASSERT_EQ(lines.size(), 1U) << run.out << run.err;
  const Json& counters = lines[0]["counters"];
  EXPECT_EQ(lines[0]["fresh"], true);
  EXPECT_EQ(counters["hits"].get<std::uint64_t>() + counters["misses"].get<std::uint64_t>(), 1001U);
  EXPECT_EQ(counters["leases"], 1);
  EXPECT_EQ(counters["failures"], 0);
}

TEST(Stat, AProcessThatDoesNotAnswerIsShownAsItWas) {
  const LedgerProcess other([](const Pause& pause) {
    const LedgerEntry cache = Ledger::OfProcess().AddCache("rxe0");
    CacheStats stats;
    stats.hits = 42;
    Ledger::OfProcess().Publish(cache, stats);
    pause();
  });
  const std::string pid = absl::StrCat(other.pid());
  const std::vector<Json> lines = Lines(RunTool({"stat", pid, "-n", "1", "--json"}));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["fresh"], false);
  EXPECT_EQ(lines[0]["counters"]["hits"], 42);
  EXPECT_GT(lines[0]["age_s"], 0);
  kill(other.pid(), SIGSTOP);
  const ToolRun text = RunTool({"stat", pid, "-n", "1"});
  EXPECT_NE(text.out.find("does not answer"), std::string::npos) << text.out;
}

TEST(Stat, ACacheThatNeverPublishedHasNoCounters) {
  const LedgerProcess other([](const Pause& pause) {
    Ledger::OfProcess().AddCache("rxe0");
    pause();
  });
  kill(other.pid(), SIGSTOP);
  const std::string pid = absl::StrCat(other.pid());
  const std::vector<Json> lines = Lines(RunTool({"stat", pid, "-n", "1", "--json"}));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["counters"], nullptr);
  EXPECT_EQ(lines[0]["age_s"], nullptr);
}

TEST(Stat, EndsWithTheProcess) {
  auto other = std::make_unique<LedgerProcess>(AnswerForEver);
  other->Go();
  Tool tool({"stat", absl::StrCat(other->pid()), "-i", "0.05"});
  ASSERT_TRUE(WaitFor("the first counters", [&] { return tool.HasPrinted(); }));
  other.reset();
  const ToolRun run = tool.Wait();
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.err, "");
}

TEST(Stat, OfWhatIsNotThereIsOneClearLine) {
  const LedgerProcess without([](const Pause& pause) { pause(); });
  const LedgerProcess uncached([](const Pause& pause) {
    Ledger::OfProcess().Add({.range = {0x10000, 0x20000}, .device = "rxe0", .owner_name = {}});
    pause();
  });
  const std::string one_without = absl::StrCat(without.pid());
  const struct {
    std::vector<std::string> arguments;
    int status;
    std::string said;
  } cases[] = {{{}, kUsage, "pid"},
               {{"2147483647"}, kUsage, "no process"},
               {{"x"}, kUsage, "PID"},
               {{one_without}, kUnusable, "no ledger"},
               {{absl::StrCat(uncached.pid())}, kUnusable, "no cache"},
               {{one_without, "-i", "0"}, kUsage, "--interval"},
               {{one_without, "-i", "nan"}, kUsage, "--interval"},
               {{one_without, "-n", "0"}, kUsage, "--count"}};
  for (const auto& one : cases) {
    std::vector<std::string> arguments{"stat"};
    arguments.insert(arguments.end(), one.arguments.begin(), one.arguments.end());
    const ToolRun run = RunTool(arguments);
    EXPECT_EQ(run.status, one.status) << run.err;
    EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
    EXPECT_NE(run.err.find(one.said), std::string::npos) << run.err;
    EXPECT_EQ(run.out, "");
  }
}

}  // namespace
}  // namespace linchpin::testing
