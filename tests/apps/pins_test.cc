// `linchpin pins`: that it finds what other processes have pinned, joins it, and is not harmed or
// fooled by what they write.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "lib/base/fd.h"
#include "lib/pin/ledger.h"
#include "linchpin/cache.h"
#include "linchpin/loopback.h"
#include "tests/apps/tool.h"
#include "tests/pin/ledger_process.h"
#include "tests/testing/child.h"

namespace linchpin::testing {
namespace {

using internal::Ledger;
using Json = nlohmann::json;
using Pause = LedgerProcess::Pause;

constexpr int kUsage = 1;
constexpr int kUnusable = 2;
constexpr std::size_t kBytes = 65'536;

// A file in memory with a name that no other process's has.
class SharedFile final {
 public:
  SharedFile() : name_(absl::StrCat("pins-test-", getpid())) {
    fd_.Reset(memfd_create(name_.c_str(), MFD_CLOEXEC));
    LINCHPIN_CHECK(fd_.valid() && ftruncate(fd_.get(), kBytes) == 0);
    LINCHPIN_CHECK(fstat(fd_.get(), &status_) == 0);
  }

  std::string name() const { return "memfd:" + name_; }
  const struct stat& status() const { return status_; }
  std::uintptr_t Map() const {
    void* const mapped = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    LINCHPIN_CHECK(mapped != MAP_FAILED);
    return reinterpret_cast<std::uintptr_t>(mapped);
  }

 private:
  std::string name_;
  Fd fd_;
  struct stat status_ {};
};

// Lists `file` as pinned, and waits.
void ListFile(const SharedFile& file, const Pause& pause) {
  const std::uintptr_t start = file.Map();
  const internal::LedgerEntry entry =
      Ledger::OfProcess().Add({.range = {start, start + kBytes},
                               .kind = PinKind::kLongterm,
                               .rights = Access::kLocalWrite | Access::kRemoteRead,
                               .device = "rxe0",
                               .file_device = file.status().st_dev,
                               .file_inode = file.status().st_ino,
                               .owner = 7,
                               .owner_name = "peer",
                               .runs = 3});
  Ledger::OfProcess().SetLeases(entry, 5);
  pause();
}

void ListAnonymous(const Pause& pause) {
  Ledger::OfProcess().Add({.range = {0x10000, 0x20000}, .device = "rxe0", .owner_name = {}});
  pause();
}

TEST(Pins, OfOneFileInTwoProcessesAreJoined) {
  const SharedFile file;
  const LedgerProcess first([&](const Pause& pause) { ListFile(file, pause); });
  const LedgerProcess second([&](const Pause& pause) { ListFile(file, pause); });
  const ToolRun run = RunTool({"pins", "--json", "--file", file.name()});
  ASSERT_EQ(run.status, 0) << run.err;
  const Json json = run.json();
  ASSERT_EQ(json["files"].size(), 1U) << run.out;
  const Json& group = json["files"][0];
  EXPECT_EQ(group["file"], "/" + file.name() + " (deleted)");
  EXPECT_EQ(group["file_inode"], file.status().st_ino);
  EXPECT_EQ(group["processes"], 2);
  EXPECT_EQ(group["bytes"], 2 * kBytes);
  ASSERT_EQ(group["pins"].size(), 2U);
  for (const Json& pin : group["pins"]) {
    EXPECT_TRUE(pin["pid"] == first.pid() || pin["pid"] == second.pid());
    EXPECT_EQ(pin["bytes"], kBytes);
    EXPECT_EQ(pin["kind"], "long-term");
    EXPECT_EQ(pin["rights"], "LocalWrite|RemoteRead");
    EXPECT_EQ(pin["device"], "rxe0");
    EXPECT_EQ(pin["owner"], Json({{"id", 7}, {"name", "peer"}}));
    EXPECT_EQ(pin["leases"], 5);
    EXPECT_EQ(pin["runs"], 3);
    EXPECT_LT(pin["age_s"], 60);
    EXPECT_FALSE(pin.contains("lkey") || pin.contains("rkey"));
  }
  EXPECT_NE(group["pins"][0]["pid"], group["pins"][1]["pid"]);
}

TEST(Pins, HaveTheirRunsCountedWhenAsked) {
  const LedgerProcess process([&](const Pause& pause) {
    static std::array<char, 16 * 4096> memory;
    memory.fill(1);
    const auto start = reinterpret_cast<std::uintptr_t>(memory.data());
    Ledger::OfProcess().Add(
        {.range = {start, start + memory.size()}, .device = "rxe0", .owner_name = {}});
    // What a process may say of itself, and nobody should look at for hours.
    Ledger::OfProcess().Add(
        {.range = {4096, std::uintptr_t{1} << 47}, .device = "rxe1", .owner_name = {}});
    pause();
  });
  for (const bool asked : {false, true}) {
    std::vector<std::string> command{"pins", "--json", "--pid", absl::StrCat(process.pid())};
    if (asked) command.emplace_back("--runs");
    const ToolRun run = RunTool(command);
    ASSERT_EQ(run.status, 0) << run.err;
    const Json json = run.json();
    for (const Json& group : json["files"]) {
      for (const Json& pin : group["pins"]) {
        if (!asked || pin["device"] == "rxe1" || geteuid() != 0) {
          EXPECT_TRUE(pin["runs"].is_null()) << pin;
        } else {
          EXPECT_GE(pin["runs"], 1) << pin;
          EXPECT_LE(pin["runs"], 17) << pin;
        }
      }
    }
  }
}

TEST(Pins, OfTwoCachesOnOneFileAreJoined) {
  if (const std::string why = WhyNotUsable("loopback"); !why.empty()) GTEST_SKIP() << why;
  const SharedFile file;
  const auto lease_all = [&](const Pause& pause) {
    const auto device = LoopbackDevice::Create();
    LINCHPIN_CHECK(device.ok());
    auto cache = RegistrationCache::Create(*device);
    LINCHPIN_CHECK(cache.ok());
    const auto lease =
        (*cache)->Acquire(reinterpret_cast<void*>(file.Map()), kBytes, Access::kLocalWrite);
    LINCHPIN_CHECK(lease.ok());
    pause();
  };
  const LedgerProcess first(lease_all);
  const LedgerProcess second(lease_all);
  const ToolRun run = RunTool({"pins", "--json", "--file", file.name()});
  const Json json = run.json();
  ASSERT_EQ(json["files"].size(), 1U) << run.out << run.err;
  EXPECT_EQ(json["files"][0]["processes"], 2);
  EXPECT_EQ(json["files"][0]["bytes"], 2 * kBytes);
  for (const Json& pin : json["files"][0]["pins"]) EXPECT_EQ(pin["leases"], 1) << pin;
}

TEST(Pins, CanBeJoinedByProcess) {
  const SharedFile file;
  const LedgerProcess other([&](const Pause& pause) { ListFile(file, pause); });
  const ToolRun run =
      RunTool({"pins", "--json", "--by", "process", "--pid", absl::StrCat(other.pid())});
  const Json json = run.json();
  ASSERT_EQ(json["by_process"].size(), 1U) << run.out << run.err;
  EXPECT_EQ(json["by_process"][0]["pid"], other.pid());
  EXPECT_EQ(json["by_process"][0]["bytes"], kBytes);
}

TEST(Pins, AreAlsoText) {
  const SharedFile file;
  const LedgerProcess other([&](const Pause& pause) { ListFile(file, pause); });
  const ToolRun run = RunTool({"pins", "--pid", absl::StrCat(other.pid())});
  EXPECT_EQ(run.status, 0) << run.err;
  for (const std::string& part : {file.name(), std::string("64 KiB pinned in 1 pins by 1 process"),
                                  std::string("LocalWrite|RemoteRead"), std::string("7:peer")}) {
    EXPECT_NE(run.out.find(part), std::string::npos) << part << " in\n" << run.out;
  }
}

TEST(Pins, OfAStoppedProcessAreShown) {
  const LedgerProcess other([](const Pause& pause) {
    Ledger::OfProcess().AddCache("rxe0");
    ListAnonymous(pause);
  });
  kill(other.pid(), SIGSTOP);
  const Json json = RunTool({"pins", "--json", "--pid", absl::StrCat(other.pid())}).json();
  ASSERT_EQ(json["files"].size(), 1U) << json.dump(2);
  EXPECT_EQ(json["files"][0]["file"], nullptr);
  EXPECT_EQ(json["files"][0]["bytes"], 0x10000);
  EXPECT_EQ(json["processes"][0]["fresh"], false);
}

TEST(Pins, OfAPathAreFoundByIt) {
  const std::string path = absl::StrCat(::testing::TempDir(), "pins-test-", getpid());
  std::ofstream(path) << "text";
  struct stat status {};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  const LedgerProcess other([&](const Pause& pause) {
    Ledger::OfProcess().Add({.range = {0x10000, 0x20000},
                             .device = "rxe0",
                             .file_device = status.st_dev,
                             .file_inode = status.st_ino,
                             .owner_name = {}});
    ListAnonymous(pause);
  });
  const std::string pid = absl::StrCat(other.pid());
  const Json json = RunTool({"pins", "--json", "--pid", pid, "--file", path}).json();
  std::filesystem::remove(path);
  ASSERT_EQ(json["files"].size(), 1U) << json.dump(2);
  EXPECT_EQ(json["files"][0]["pins"].size(), 1U);
  EXPECT_EQ(json["files"][0]["file_inode"], status.st_ino);
}

TEST(Pins, OfWhatIsNotThereIsOneClearLine) {
  const LedgerProcess without([](const Pause& pause) { pause(); });
  const struct {
    std::vector<std::string> arguments;
    int status;
    std::string said;
  } cases[] = {{{"--pid", "2147483647"}, kUsage, "no process"},
               {{"--pid", "0"}, kUsage, "--pid"},
               {{"--pid", "x"}, kUsage, "--pid"},
               {{"--pid", absl::StrCat(without.pid())}, kUnusable, "no ledger"},
               {{"--by", "size"}, kUsage, "--by"},
               {{"--file", ""}, kUsage, "--file"},
               {{"--file", "/no/such/file"}, kUsage, "/no/such/file"},
               {{"surplus"}, kUsage, "surplus"}};
  for (const auto& one : cases) {
    std::vector<std::string> arguments{"pins"};
    arguments.insert(arguments.end(), one.arguments.begin(), one.arguments.end());
    const ToolRun run = RunTool(arguments);
    EXPECT_EQ(run.status, one.status) << run.err;
    EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
    EXPECT_NE(run.err.find(one.said), std::string::npos) << run.err;
    EXPECT_EQ(run.out, "");
  }
}

TEST(Pins, HostileNamesAreEscaped) {
  const LedgerProcess other([](const Pause& pause) {
    Ledger::OfProcess().Add({.range = {0x10000, 0x20000},
                             .device = "\x1b[2J\xff\xc0\x80\nrxe0",
                             .owner = 1,
                             .owner_name = "\xe2\x80\xae\"gp\xc3\xa9\xed\xa0\x80"});
    pause();
  });
  const std::string pid = absl::StrCat(other.pid());
  const Json json = RunTool({"pins", "--json", "--pid", pid}).json();
  ASSERT_TRUE(json.is_object());
  const Json& pin = json["files"][0]["pins"][0];
  EXPECT_EQ(pin["device"], "\\x1b[2J\\xff\\xc0\\x80\\x0arxe0");
  EXPECT_EQ(pin["owner"]["name"], "\\xe2\\x80\\xae\"gp\xc3\xa9\\xed\\xa0\\x80");
  const std::string text = RunTool({"pins", "--pid", pid}).out;
  EXPECT_TRUE(std::none_of(text.begin(), text.end(), [](char c) {
    return c != '\n' && static_cast<unsigned char>(c) < 0x20;
  })) << text;
}

TEST(Pins, ALedgerThatWasWrittenOverIsSaidToBe) {
  const LedgerProcess other([](const Pause& pause) { ListAnonymous(pause); });
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", other.pid(), "/fd"))) {
    if (std::filesystem::read_symlink(entry).string().starts_with("/memfd:linchpin-pins")) {
      const Fd ledger(open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
      ASSERT_EQ(pwrite(ledger.get(), "garbage!", 8, 0), 8);
    }
  }
  const Json json = RunTool({"pins", "--json"}).json();
  bool said = false;
  for (const Json& process : json["others"]) {
    said = said || (process["pid"] == other.pid() &&
                    process["reason"].get<std::string>().find("written over") != std::string::npos);
  }
  EXPECT_TRUE(said) << json.dump(2);
}

TEST(Pins, ThatMayNotBeReadAreListedAsSuch) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  if (const std::string why = WhyNotUsable("loopback"); !why.empty()) GTEST_SKIP() << why;
  const SharedFile file;
  const LedgerProcess other([&](const Pause& pause) {
    const auto device = LoopbackDevice::Create();
    const std::uintptr_t start = file.Map();
    LINCHPIN_CHECK(device.ok());
    LINCHPIN_CHECK((*device)->Register({start, start + kBytes}, Access::kLocalRead).ok());
    pause();
  });
  const auto find = [&](const Json& json) {
    for (const Json& process : json["others"]) {
      if (process["pid"] == other.pid()) return process;
    }
    return Json::object();
  };
  const Json mine = find(RunTool({"pins", "--json"}).json());
  EXPECT_EQ(mine["reason"], "pins not by Linchpin") << mine;
  ToolOptions options;
  options.before_exec = [] { return DropPrivilege(2) && access(LINCHPIN_TOOL, X_OK) == 0; };
  const ToolRun run = RunTool({"pins", "--json"}, options);
  if (run.status == 126) GTEST_SKIP() << "the tool is not accessible to others than root";
  const Json theirs = find(run.json());
  EXPECT_EQ(theirs["reason"], "may not be read") << run.out << run.err;
  EXPECT_GE(theirs["vm_pin_bytes"], kBytes);
  const ToolRun one = RunTool({"pins", "--pid", absl::StrCat(other.pid())}, options);
  EXPECT_EQ(one.status, kUnusable);
  EXPECT_TRUE(IsOneErrorLine(one.err)) << one.err;
}

// A directory on PATH whose rdma does as it is told.
class FakeRdma final {
 public:
  explicit FakeRdma(const std::string& script)
      : directory_(absl::StrCat(::testing::TempDir(), "fake-rdma-", getpid())) {
    std::filesystem::create_directory(directory_);
    if (script.empty()) return;
    std::ofstream(directory_ / "rdma") << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(directory_ / "rdma", std::filesystem::perms::owner_all);
  }
  FakeRdma(const FakeRdma&) = delete;
  FakeRdma& operator=(const FakeRdma&) = delete;
  ~FakeRdma() { std::filesystem::remove_all(directory_); }

  // What the tool makes of it.
  Json Run() const {
    ToolOptions options;
    options.before_exec = [this] { return setenv("PATH", directory_.c_str(), 1) == 0; };
    const ToolRun run = RunTool({"pins", "--json"}, options);
    EXPECT_EQ(run.status, 0) << run.err;
    return run.json()["rdma"];
  }

 private:
  std::filesystem::path directory_;
};

TEST(PinsRdma, MrsOfTheKernelAreAddedWithoutTheirKeys) {
  const FakeRdma rdma(
      "echo '[{\"ifindex\":1,\"ifname\":\"rxe0\",\"mrn\":3,\"mrlen\":8192,\"pid\":41,"
      "\"comm\":\"app\",\"rkey\":77},{\"ifname\":\"rxe0\",\"mrn\":4,\"mrlen\":1,"
      "\"comm\":\"[ib_core]\"},5]'");
  const Json json = rdma.Run();
  EXPECT_EQ(json["problem"], nullptr);
  ASSERT_EQ(json["mrs"].size(), 2U);
  EXPECT_EQ(
      json["mrs"][0],
      Json({{"pid", 41}, {"command", "app"}, {"device", "rxe0"}, {"mrn", 3}, {"mrlen", 8192}}));
  EXPECT_EQ(json["mrs"][1]["pid"], nullptr);
}

TEST(PinsRdma, AbsentFailingOrMumblingIsSaidAndNoError) {
  EXPECT_NE(FakeRdma("").Run()["problem"].get<std::string>().find("PATH"), std::string::npos);
  EXPECT_NE(FakeRdma("exit 3").Run()["problem"].get<std::string>().find("failed"),
            std::string::npos);
  EXPECT_NE(FakeRdma("echo '[{'").Run()["problem"].get<std::string>().find("not understood"),
            std::string::npos);
}

TEST(PinsRdma, ThatHangsIsGivenUp) {
  const FakeRdma rdma("exec /bin/sleep 60");
  EXPECT_NE(rdma.Run()["problem"].get<std::string>().find("not answered"), std::string::npos);
}

}  // namespace
}  // namespace linchpin::testing
