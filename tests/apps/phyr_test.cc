// `linchpin phyr`, of the memory of this test and of others, compared with the page map.
#include "linchpin/phyr.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/apps/tool.h"
#include "tests/pin/ledger_process.h"
#include "tests/testing/child.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;
using Pause = LedgerProcess::Pause;

constexpr int kUsage = 1;
constexpr int kUnusable = 2;
constexpr std::size_t kHugePage = 2 << 20;

Range RangeOf(const Mapped& memory) {
  return {memory.start(), memory.start() + memory.size()};
}

std::vector<std::string> Arguments(pid_t pid, Range range, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{"phyr", std::to_string(pid),
                                     absl::StrFormat("%#x", range.start),
                                     std::to_string(range.size())};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

bool FramesAreShown() {
  const Mapped page(kPage);
  page.data()[0] = 1;
  const auto list = ReadPhyrs(RangeOf(page));
  return list.ok() && !(*list)[0].Has(PhyrFlags::kUnknownAddress);
}

// Memory of small pages, of which every other one is touched, the first included.
class Striped final {
 public:
  explicit Striped(std::size_t pages) : memory_(pages * kPage) {
    madvise(memory_.data(), memory_.size(), MADV_NOHUGEPAGE);
    for (std::size_t i = 0; i < pages; i += 2) memory_.data()[i * kPage] = 1;
  }
  Range range() const { return RangeOf(memory_); }

 private:
  Mapped memory_;
};

// What the tool says of the memory of `pid`, and what the library reads. The kernel may move pages
// meanwhile: the library has read the same before and after.
struct Told {
  ToolRun run;
  PhyrList list;
};

Told Ask(pid_t pid, Range range, const std::vector<std::string>& more) {
  Told told;
  for (int tries = 0; tries < 20; ++tries) {
    const auto before = ReadPhyrs(range, {.pid = pid});
    told.run = RunTool(Arguments(pid, range, more));
    const auto after = ReadPhyrs(range, {.pid = pid});
    EXPECT_TRUE(before.ok() && after.ok()) << before.status() << after.status();
    if (!before.ok() || !after.ok()) return told;
    told.list = *after;
    if (*before == *after) return told;
  }
  ADD_FAILURE() << "the memory never stayed where it was";
  return told;
}

// Compares each range of the JSON object with the list.
void ExpectSame(const Json& json, const PhyrList& list, std::uint64_t start) {
  ASSERT_EQ(json["phyrs"].size(), list.size()) << json;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Json& phyr = json["phyrs"][i];
    EXPECT_EQ(phyr["start"], absl::StrFormat("%#x", start));
    EXPECT_EQ(phyr["bytes"], list[i].length());
    EXPECT_EQ(phyr["address"],
              list[i].placed() ? Json(absl::StrFormat("%#x", list[i].address())) : Json(nullptr));
    std::string flags;
    for (const Json& flag : phyr["flags"]) {
      flags += (flags.empty() ? "" : "|") + flag.get<std::string>();
    }
    EXPECT_EQ(flags.empty() ? "none" : flags, ToString(list[i].flags()));
    start += list[i].length();
  }
}

std::uint64_t Sum(const Json& objects, const char* field) {
  std::uint64_t sum = 0;
  for (const Json& object : objects) sum += object[field].get<std::uint64_t>();
  return sum;
}

TEST(PhyrTool, SaysWhereEachPageIs) {
  const Striped memory(12);
  const Range range = memory.range();
  const Told told = Ask(getpid(), range, {"--json"});
  ASSERT_EQ(told.run.status, 0) << told.run.err;
  const Json json = told.run.json();
  ASSERT_TRUE(json.is_object()) << told.run.out;
  ExpectSame(json, told.list, range.start);
  EXPECT_EQ(json["pid"], getpid());
  EXPECT_EQ(json["start"], absl::StrFormat("%#x", range.start));
  EXPECT_EQ(json["bytes"], range.size());
  EXPECT_EQ(json["in_memory_bytes"], 6 * kPage);
  EXPECT_EQ(json["flag_bytes"]["absent"], 6 * kPage);
  EXPECT_EQ(json["flag_bytes"]["writable"], 6 * kPage);
  EXPECT_EQ(json["flag_bytes"]["huge"], 0);
  EXPECT_EQ(Sum(json["contiguity"], "bytes"), 6 * kPage);
  EXPECT_EQ(Sum(json["contiguity"], "runs"), json["runs"]);
}

TEST(PhyrTool, WhatIsNotInMemorySplitsTheRangeAndFailsNothing) {
  const Striped memory(12);
  const Told told = Ask(getpid(), memory.range(), {"--json"});
  const Json json = told.run.json();
  ASSERT_EQ(json["translations"].size(), 3U) << told.run.out;
  for (const Json& translation : json["translations"]) {
    EXPECT_EQ(translation["page_size"], nullptr);
    EXPECT_EQ(translation["parts"], 6);
    EXPECT_EQ(translation["page_size_least"], kPage);
    EXPECT_EQ(translation["page_size_most"], kPage);
    EXPECT_EQ(translation["entries"], 6);
  }
  const ToolRun text = RunTool(Arguments(getpid(), memory.range()));
  EXPECT_EQ(text.status, 0);
  EXPECT_THAT(text.out, HasSubstr("none; 4 KiB for the 6 parts in memory"));
  EXPECT_THAT(text.out, HasSubstr("24 KiB in memory, in "));
  EXPECT_THAT(text.out, HasSubstr("; 24 KiB absent"));
}

TEST(PhyrTool, NothingInMemoryIsNoError) {
  const ToolRun run = RunTool({"phyr", "self", "0x400000000000000", "8388607T", "--all"});
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("none: nothing is in memory"));
  EXPECT_THAT(run.out, HasSubstr("0 B in memory, in 0 runs; 8388607 TiB absent"));
}

TEST(PhyrTool, ChoosesThePageSizeByWhatTheDeviceHas) {
  const Mapped memory(4 * kHugePage);
  const std::uintptr_t start = (memory.start() / kHugePage + 1) * kHugePage;
  const Range range{start, start + 2 * kHugePage};
  madvise(reinterpret_cast<void*>(start), range.size(), MADV_HUGEPAGE);
  std::memset(reinterpret_cast<void*>(start), 1, range.size());
  const Told told = Ask(getpid(), range, {"--json"});
  const Json json = told.run.json();
  ASSERT_EQ(json["translations"].size(), 3U) << told.run.out;
  const std::uint64_t sizes[] = {kPage, kPage | kHugePage, kPage | kHugePage | 1 << 30};
  for (std::size_t i = 0; i < 3; ++i) {
    const Json& translation = json["translations"][i];
    const auto choice = BestPageSize(told.list, start, sizes[i]);
    ASSERT_TRUE(choice.ok()) << choice.status();
    std::uint64_t supported = 0;
    for (const Json& size : translation["supported"]) supported |= size.get<std::uint64_t>();
    EXPECT_EQ(supported, sizes[i]);
    EXPECT_EQ(translation["page_size"], choice->page_size);
    EXPECT_EQ(translation["entries"], choice->entries);
    EXPECT_EQ(translation["parts"], 1);
  }
  if (json["flag_bytes"]["huge"] != range.size()) GTEST_SKIP() << "no huge pages were to be had";
  EXPECT_EQ(json["translations"][1]["page_size"], kHugePage);
  EXPECT_EQ(json["translations"][1]["entries"], 2);
}

TEST(PhyrTool, ShowsTheFirstRangesAndSaysHowManyMoreThereAre) {
  const Striped memory(40);
  const ToolRun some = RunTool(Arguments(getpid(), memory.range()));
  EXPECT_EQ(some.status, 0) << some.err;
  EXPECT_THAT(some.out, HasSubstr("and 24 more of 96 KiB; --all shows them"));
  const ToolRun all = RunTool(Arguments(getpid(), memory.range(), {"--all"}));
  EXPECT_THAT(all.out, Not(HasSubstr("more of")));
  EXPECT_THAT(all.out, HasSubstr(absl::StrFormat("%#x ", memory.range().end - kPage)));
  const Json json = RunTool(Arguments(getpid(), memory.range(), {"--json"})).json();
  EXPECT_EQ(json["phyrs"].size(), 16U);
  EXPECT_EQ(json["phyrs_left_out"], 24);
  const Told told = Ask(getpid(), memory.range(), {"--json", "--all"});
  ExpectSame(told.run.json(), told.list, memory.range().start);
  EXPECT_EQ(told.run.json()["phyrs_left_out"], 0);
}

TEST(PhyrTool, ReadsAnotherProcess) {
  const Mapped memory(8 * kPage);
  madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
  std::memset(memory.data(), 1, memory.size());
  const LedgerProcess child([&](const Pause& pause) {
    std::memset(memory.data(), 2, memory.size());  // Copies of its own.
    pause();
  });
  const Range range = RangeOf(memory);
  const Told told = Ask(child.pid(), range, {"--json"});
  ASSERT_EQ(told.run.status, 0) << told.run.err;
  EXPECT_EQ(told.run.json()["pid"], child.pid());
  ExpectSame(told.run.json(), told.list, range.start);
  if (!FramesAreShown()) GTEST_SKIP() << "needs CAP_SYS_ADMIN to see frame numbers";
  EXPECT_NE(told.list, ReadPhyrs(range).value_or(PhyrList()));
}

TEST(PhyrTool, WithoutPrivilegeSaysWhatIsKnownAndWhatToDo) {
  const Mapped memory(4 * kPage);
  madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
  const LedgerProcess child([&](const Pause& pause) {
    std::memset(memory.data(), 2, 3 * kPage);
    if (!DropPrivilege(0)) return;
    prctl(PR_SET_DUMPABLE, 1);  // Else its files in /proc are root's.
    pause();
  });
  ToolOptions as_child;
  as_child.before_exec = [] { return DropPrivilege(0) && access(LINCHPIN_TOOL, X_OK) == 0; };
  const ToolRun run = RunTool(Arguments(child.pid(), RangeOf(memory), {"--json"}), as_child);
  if (run.status == 126) GTEST_SKIP() << "the tool is not accessible to others than root";
  ASSERT_EQ(run.status, 0) << run.err;
  const Json json = run.json();
  EXPECT_THAT(json["unknown"].get<std::string>(), HasSubstr("CAP_SYS_ADMIN"));
  ASSERT_EQ(json["phyrs"].size(), 4U) << run.out;
  EXPECT_EQ(json["phyrs"][0]["address"], nullptr);
  EXPECT_EQ(json["phyrs"][0]["within_page_of"], kPage);
  EXPECT_EQ(json["phyrs"][3]["flags"], Json::array({"absent"}));
  EXPECT_EQ(json["flag_bytes"]["unknown-address"], 3 * kPage);
  EXPECT_EQ(json["translations"][0]["page_size_least"], kPage);
  EXPECT_EQ(json["translations"][0]["entries"], 3);
  EXPECT_EQ(json["contiguity"][0]["runs"], 3);

  const ToolRun text = RunTool(Arguments(child.pid(), RangeOf(memory)), as_child);
  EXPECT_THAT(text.out, HasSubstr("run as root, or with CAP_SYS_ADMIN"));
  EXPECT_THAT(text.out, HasSubstr("in a page of 4 KiB"));
}

TEST(PhyrTool, SaysThatNobodyIsToldWhereADevicesMemoryIs) {
  const std::optional<Range> vvar = FindMapping("[vvar]");
  if (!vvar) GTEST_SKIP() << "no [vvar] is mapped here";
  const auto list = ReadPhyrs(*vvar);
  ASSERT_TRUE(list.ok()) << list.status();
  if (!(*list)[0].Has(PhyrFlags::kUnknownAddress)) GTEST_SKIP() << "this kernel tells it";
  const Json json = RunTool(Arguments(getpid(), *vvar, {"--json"})).json();
  EXPECT_THAT(json["unknown"].get<std::string>(), HasSubstr("only its driver knows"));
  EXPECT_EQ(json["flag_bytes"]["device"], vvar->size());
  EXPECT_EQ(json["phyrs"][0]["flags"], Json::array({"device", "unknown-address"}));
}

TEST(PhyrTool, SaysWhoMayLookAtAProcess) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const Mapped memory(kPage);
  ToolOptions options;
  options.before_exec = [] { return DropPrivilege(1) && access(LINCHPIN_TOOL, X_OK) == 0; };
  const ToolRun run = RunTool(Arguments(getpid(), RangeOf(memory)), options);
  if (run.status == 126) GTEST_SKIP() << "the tool is not accessible to others than root";
  EXPECT_EQ(run.status, kUnusable);
  EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
  EXPECT_THAT(run.err, HasSubstr("CAP_SYS_PTRACE"));
  EXPECT_EQ(run.out, "");
}

TEST(PhyrTool, AProcessThatHasEndedHasNoMemory) {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  const ToolRun run = RunTool(Arguments(child, {kPage, 2 * kPage}));
  waitpid(child, nullptr, 0);
  EXPECT_EQ(run.status, kUnusable);
  EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
  EXPECT_THAT(run.err, HasSubstr("has no memory"));
  EXPECT_EQ(run.out, "");
}

TEST(PhyrTool, SaysWhatItDoesNotUnderstandInOneLine) {
  const struct {
    std::vector<std::string> arguments;
    std::string said;
  } kCases[] = {
      {{"phyr"}, "PID ADDRESS LENGTH are needed, or --self-test"},
      {{"phyr", "self", "0x1000"}, "PID ADDRESS LENGTH are needed, or --self-test"},
      {{"phyr", "self", "0x1000", "4K", "more"}, "more"},
      {{"phyr", "self", "0x1000", "4K", "--self-test"}, "leave PID ADDRESS LENGTH out"},
      {{"phyr", "nobody", "0x1000", "4K"}, "PID: \"nobody\""},
      {{"phyr", "4194304", "0x1000", "4K"}, "no process 4194304"},
      {{"phyr", "self", "0x10z", "4K"}, "ADDRESS: \"0x10z\""},
      {{"phyr", "self", "0", "4K"}, "null"},
      {{"phyr", "self", "0x1000", "0"}, "LENGTH: \"0\""},
      {{"phyr", "self", "0x1000", "-4K"}, "LENGTH: \"-4K\""},
      {{"phyr", "self", "0xffffffffffffff00", "4K"}, "wrap around"},
      {{"phyr", "self", "0x1000", "4K", "--plot", ""}, "--plot: is empty"},
      {{"phyr", "self", "0x1000", "4K", "--plot"}, "--plot"},
  };
  for (const auto& one : kCases) {
    const ToolRun run = RunTool(one.arguments);
    EXPECT_EQ(run.status, kUsage) << one.said;
    EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
    EXPECT_THAT(run.err, HasSubstr(one.said));
    EXPECT_EQ(run.out, "");
  }
}

}  // namespace
}  // namespace linchpin::testing
