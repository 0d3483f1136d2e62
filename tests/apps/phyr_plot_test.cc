// `linchpin phyr --self-test` and `--plot`: its own checks, and the picture it has drawn.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/apps/tool.h"

namespace linchpin::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

constexpr int kUnusable = 2;
constexpr std::uint64_t kHugePage = 2 << 20;

// A directory of this test's own, which is empty but for what the tool leaves in it.
class Folder final {
 public:
  Folder() {
    path_ = std::filesystem::temp_directory_path() / "linchpin-plot-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  std::string File(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

 private:
  std::string path_;
};

std::string ContentsOf(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

// What is wrong with `text` as XML, as far as its tags go; empty when each is closed in its turn.
std::string XmlFault(const std::string& text) {
  std::vector<std::string> open;
  std::size_t at = 0;
  while ((at = text.find('<', at)) != std::string::npos) {
    if (text.compare(at, 4, "<!--") == 0) {
      at = text.find("-->", at);
      if (at == std::string::npos) return "a comment has no end";
      continue;
    }
    const std::size_t end = text.find('>', at);
    if (end == std::string::npos) return "a tag has no end";
    const std::string tag = text.substr(at + 1, end - at - 1);
    at = end;
    if (tag.empty()) return "an empty tag";
    if (tag[0] == '?' || tag[0] == '!' || tag.back() == '/') continue;
    const std::string name = tag.substr(0, tag.find_first_of(" \t\n"));
    if (name[0] != '/') {
      open.push_back(name);
    } else if (open.empty() || "/" + open.back() != name) {
      return "<" + name + "> closes nothing";
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

bool HasGnuplot() {
  return std::system("gnuplot --version > /dev/null 2>&1") == 0;
}

// Runs the tool where programs are looked for in `path` alone.
ToolRun RunWithPath(const std::vector<std::string>& arguments, const std::string& path) {
  ToolOptions options;
  options.before_exec = [&] { return setenv("PATH", path.c_str(), 1) == 0; };
  return RunTool(arguments, options);
}

TEST(PhyrSelfTest, EachCheckOfEachKindOfMemoryHolds) {
  const ToolRun run = RunTool({"phyr", "--self-test", "--json"});
  const Json json = run.json();
  ASSERT_TRUE(json.is_object()) << run.out << run.err;
  EXPECT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(json["failed"], 0);
  ASSERT_EQ(json["memories"].size(), 6U);
  std::size_t checks = 0;
  for (const Json& memory : json["memories"]) {
    SCOPED_TRACE(memory["kind"]);
    checks += memory["checks"].size();
    for (const Json& check : memory["checks"]) EXPECT_EQ(check["ok"], true) << check;
    if (memory["absent"] != nullptr) {
      EXPECT_EQ(memory["kind"], "hugetlb") << memory["absent"];  // All others can always be made.
      EXPECT_EQ(memory["view"], nullptr);
      continue;
    }
    EXPECT_GE(memory["checks"].size(), 2U);
    EXPECT_EQ(memory["pinned"], memory["unpinned"] == nullptr);
    const Json& view = memory["view"];
    EXPECT_EQ(view["flag_bytes"]["pinned"], memory["pinned"] == true ? view["bytes"] : Json(0));
    EXPECT_EQ(view["flag_bytes"]["longterm"], view["flag_bytes"]["pinned"]);
    EXPECT_LE(view["phyrs"].size(), 4U);
  }
  EXPECT_EQ(json["checks"], checks);
}

TEST(PhyrSelfTest, KnowsWhichKindIsWhich) {
  const Json json = RunTool({"phyr", "--self-test", "--json", "--all"}).json();
  const auto view = [&](std::size_t i) { return json["memories"][i]["view"]; };
  const std::uint64_t bytes = view(0)["bytes"];
  EXPECT_EQ(view(0)["in_memory_bytes"], bytes);
  EXPECT_EQ(view(0)["translations"][0]["entries"], bytes / 4096);
  EXPECT_EQ(view(0)["flag_bytes"]["huge"], 0);
  if (view(1)["flag_bytes"]["huge"] == view(1)["bytes"]) {
    EXPECT_EQ(view(1)["translations"][1]["page_size"], kHugePage);
    EXPECT_EQ(view(1)["translations"][1]["entries"],
              view(1)["bytes"].get<std::uint64_t>() / kHugePage);
  }
  if (json["memories"][2]["absent"] == nullptr) {
    EXPECT_EQ(view(2)["flag_bytes"]["huge"], view(2)["bytes"]);
  }
  EXPECT_EQ(view(3)["flag_bytes"]["absent"], view(3)["bytes"].get<std::uint64_t>() / 4);
  EXPECT_EQ(view(4)["flag_bytes"]["writable"], 0);
  if (view(4)["unknown"] == nullptr) {
    EXPECT_EQ(view(4)["flag_bytes"]["zero-page"], view(4)["bytes"]);
  }
  EXPECT_EQ(json["memories"][5]["kind"], "file mapped twice");
}

TEST(PhyrSelfTest, TellsItInWords) {
  const ToolRun run = RunTool({"phyr", "--self-test"});
  EXPECT_EQ(run.status, 0) << run.err;
  for (const char* part : {"small pages: 4 MiB, ", "transparent huge pages: 8 MiB, ", "hugetlb: ",
                           "partly touched: ", "page of zeros: ", "file mapped twice: ",
                           "  ok      the list has every byte of it", "RUNS OF", " 0 failed\n"}) {
    EXPECT_THAT(run.out, HasSubstr(part));
  }
  EXPECT_THAT(run.out, Not(HasSubstr("FAILED")));
}

TEST(PhyrPlot, ShowsBytesBySizeOfRunForEachKindOfMemory) {
  if (!HasGnuplot()) GTEST_SKIP() << "there is no gnuplot";
  const Folder folder;
  const ToolRun run = RunTool({"phyr", "--self-test", "--plot", folder.File("picture.svg")});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.err, "");
  EXPECT_THAT(folder.Files(), ::testing::ElementsAre("picture.svg"));
  const std::string picture = ContentsOf(folder.File("picture.svg"));
  EXPECT_EQ(XmlFault(picture), "");
  EXPECT_THAT(picture, HasSubstr("<svg"));
  for (const char* label :
       {"Physical contiguity, by kind of memory", "4 KiB", "2 MiB", "1 GiB", "small pages",
        "transparent huge pages", "partly touched", "page of zeros", "file mapped twice",
        "Size of a physically contiguous run", "Memory in such runs, in MiB"}) {
    EXPECT_THAT(picture, HasSubstr(label));
  }
}

TEST(PhyrPlot, OfAProcessIsDrawnBesideWhatIsPrinted) {
  if (!HasGnuplot()) GTEST_SKIP() << "there is no gnuplot";
  const Folder folder;
  const std::string file = folder.File("picture.svg");
  Write(file, "what was there before");
  ASSERT_EQ(chmod(file.c_str(), 0640), 0);
  const std::string link = folder.File("link.svg");
  ASSERT_EQ(symlink(file.c_str(), link.c_str()), 0);
  // Nothing is mapped there: a picture without a bar is one.
  const ToolRun run = RunTool({"phyr", "self", "4096", "4K", "--json", "--plot", link});
  ASSERT_EQ(run.status, 0) << run.err;
  EXPECT_EQ(run.json()["bytes"], 4096);
  const std::string picture = ContentsOf(file);
  EXPECT_EQ(XmlFault(picture), "");
  EXPECT_THAT(picture, HasSubstr("0x1000-0x2000"));
  EXPECT_EQ(std::filesystem::status(file).permissions(), std::filesystem::perms(0640));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
}

TEST(PhyrPlot, WithoutGnuplotSaysSoAndLeavesTheFileAlone) {
  const Folder folder;
  const std::string file = folder.File("picture.svg");
  Write(file, "what was there before");
  const ToolRun run =
      RunWithPath({"phyr", "self", "4096", "4K", "--json", "--plot", file}, "/nonexistent");
  EXPECT_EQ(run.status, kUnusable);
  EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
  EXPECT_THAT(run.err, HasSubstr("gnuplot is not on PATH; install it"));
  EXPECT_EQ(run.json()["bytes"], 4096);  // What was found is told all the same.
  EXPECT_EQ(ContentsOf(file), "what was there before");
  EXPECT_THAT(folder.Files(), ::testing::ElementsAre("picture.svg"));
}

TEST(PhyrPlot, AGnuplotThatFailsIsQuotedAndLeavesNothing) {
  const Folder folder;
  const std::string fake = folder.File("gnuplot");
  Write(fake, "#!/bin/sh\nprintf '<svg>'\nprintf 'no\\033such terminal\\n' >&2\nexit 3\n");
  ASSERT_EQ(chmod(fake.c_str(), 0755), 0);
  const ToolRun run =
      RunWithPath({"phyr", "self", "4096", "4K", "--plot", folder.File("picture.svg")},
                  folder.path() + ":/usr/bin:/bin");
  EXPECT_EQ(run.status, kUnusable);
  EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
  EXPECT_THAT(run.err, HasSubstr("gnuplot has failed: no\\x1bsuch terminal"));
  EXPECT_THAT(folder.Files(), ::testing::ElementsAre("gnuplot"));
}

TEST(PhyrPlot, AFileThatCannotBeWrittenIsNamed) {
  if (!HasGnuplot()) GTEST_SKIP() << "there is no gnuplot";
  const Folder folder;
  for (const auto& [file, said] : {std::pair{folder.File("no/picture.svg"), "ENOENT"},
                                   std::pair{folder.path(), "is no ordinary file"},
                                   std::pair{std::string("/dev/null"), "is no ordinary file"}}) {
    const ToolRun run = RunTool({"phyr", "self", "4096", "4K", "--plot", file});
    EXPECT_EQ(run.status, kUnusable) << file;
    EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
    EXPECT_THAT(run.err, HasSubstr(file));
    EXPECT_THAT(run.err, HasSubstr(said));
  }
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_THAT(folder.Files(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace linchpin::testing
