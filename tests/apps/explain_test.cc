// `linchpin explain`, of the memory of this test: ten kinds of refusal, and what it makes of its
// arguments. What the sentences say is proven against kernels in tests/explain.
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "lib/base/fd.h"
#include "tests/apps/tool.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

std::string Address(const void* address) {
  return std::to_string(reinterpret_cast<std::uintptr_t>(address));
}

// The tool on this process's memory.
ToolRun ExplainHere(const void* address, std::size_t bytes, const std::string& rights,
                    std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{"explain", std::to_string(getpid()), Address(address),
                                     std::to_string(bytes), rights};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return RunTool(arguments);
}

struct Refusal {
  std::string error;    // The name of the errno.
  std::string says;     // Part of the sentence.
  std::string mapping;  // The beginning of the mapping; empty if it is none.
};

void ExpectRefusal(const ToolRun& run, const Refusal& refusal) {
  const Json json = run.json();
  ASSERT_TRUE(json.is_object()) << run.out << run.err;
  EXPECT_EQ(run.status, 2);
  // A library of an RDMA device may have a line of its own before it.
  EXPECT_TRUE(IsOneErrorLine(run.err.substr(run.err.find("linchpin: ")))) << run.err;
  EXPECT_EQ(json["refused"], true);
  EXPECT_EQ(json["errno"], refusal.error);
  EXPECT_THAT(json["sentence"].get<std::string>(), HasSubstr(refusal.says));
  EXPECT_NE(json["remedy"], "");
  EXPECT_THAT(json["mapping"].get<std::string>(), ::testing::StartsWith(refusal.mapping));
  EXPECT_EQ(json["mapping"] == "", refusal.mapping.empty());
}

TEST(ExplainTool, SaysThatNothingSpeaksAgainstOrdinaryMemory) {
  const Mapped memory(4 * kPage);
  const ToolRun run =
      ExplainHere(memory.data(), memory.size(), "LocalWrite|RemoteRead", {"--json"});
  EXPECT_EQ(run.status, 0) << run.err;
  const Json json = run.json();
  EXPECT_EQ(json["refused"], false);
  EXPECT_EQ(json["rights"], "LocalWrite|RemoteRead");
  EXPECT_EQ(json["offending"], nullptr);
  EXPECT_EQ(json["range"]["bytes"], memory.size());
  EXPECT_EQ(json["pid"], getpid());
}

TEST(ExplainTool, ExplainsHolesAndProtection) {
  const Mapped memory(3 * kPage);
  ASSERT_EQ(mprotect(memory.data() + kPage, kPage, PROT_READ), 0);
  const ToolRun run = ExplainHere(memory.data(), memory.size(), "lw", {"--json"});
  ExpectRefusal(run, {"EFAULT", "without the write permission", "anonymous r--"});
  EXPECT_EQ(run.json()["offending"]["bytes"], kPage);
  ASSERT_EQ(mprotect(memory.data() + kPage, kPage, PROT_NONE), 0);
  ExpectRefusal(ExplainHere(memory.data(), memory.size(), "lw", {"--json"}),
                {"EFAULT", "without the write permission", "anonymous ---"});
  const Mapped other(kPage);
  ASSERT_EQ(munmap(other.data(), kPage), 0);
  ExpectRefusal(ExplainHere(other.data(), kPage, "lr", {"--json"}),
                {"EFAULT", "nothing is mapped at", "hole"});
  ExpectRefusal(ExplainHere(other.data(), kPage, "lr", {"--json", "--kind", "frame-only"}),
                {"EFAULT", "nothing is mapped at", "hole"});
}

TEST(ExplainTool, ExplainsTheEndOfAFile) {
  const Fd fd(memfd_create("explained", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), 100), 0);
  void* const memory = mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  ExpectRefusal(ExplainHere(memory, 2 * kPage, "lw", {"--json"}),
                {"EFAULT", "which has 100 bytes", "shared memory rw- /memfd:explained"});
  munmap(memory, 2 * kPage);
}

TEST(ExplainTool, ExplainsFilesThatAreWrittenBack) {
  std::string name = "/var/tmp/linchpin-explained-XXXXXX";
  const Fd fd(mkostemp(name.data(), O_CLOEXEC));
  ASSERT_TRUE(fd.valid());
  unlink(name.c_str());
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  void* const memory = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  const ToolRun run = ExplainHere(memory, kPage, "lw", {"--json"});
  munmap(memory, kPage);
  if (run.json()["refused"] == false) GTEST_SKIP() << "pinned here: " << run.json()["mapping"];
  ExpectRefusal(run, {"EFAULT", "a device's write to pinned pages it cannot hear", "shared file"});
}

TEST(ExplainTool, ExplainsDeviceAndSecretMemory) {
  // The kernel's data page [vvar] lies right before its code, the vDSO.
  if (const std::uintptr_t vdso = getauxval(AT_SYSINFO_EHDR); vdso != 0) {
    const void* const vvar = reinterpret_cast<const void*>(vdso - kPage);
    ExpectRefusal(ExplainHere(vvar, kPage, "lr", {"--json"}),
                  {"EFAULT", "no page of memory to pin", "device memory r-- [vvar"});
  }
  const Fd fd(static_cast<int>(syscall(SYS_memfd_secret, 0)));
  if (!fd.valid() || ftruncate(fd.get(), kPage) != 0) GTEST_SKIP() << "no memfd_secret here";
  void* const secret = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (secret == MAP_FAILED) GTEST_SKIP() << "secret memory cannot be mapped here";
  ExpectRefusal(ExplainHere(secret, kPage, "lw", {"--json"}),
                {"EFAULT", "no device may reach", "secret memory"});
  munmap(secret, kPage);
}

TEST(ExplainTool, ExplainsRightsAndDevicesThatCannot) {
  const Mapped memory(kPage);
  ExpectRefusal(ExplainHere(memory.data(), kPage, "rw", {"--json"}),
                {"EINVAL", "lets a peer write what the device itself may not", ""});
  ExpectRefusal(ExplainHere(memory.data(), kPage, "512", {"--json"}),
                {"EINVAL", "unknown bits 0x200", ""});
  if (const std::string why = WhyNotUsable("loopback"); !why.empty()) GTEST_SKIP() << why;
  ExpectRefusal(ExplainHere(memory.data(), kPage, "od,lw", {"--json", "-d", "loopback"}),
                {"EOPNOTSUPP", "loopback has no on-demand paging", ""});
  const Mapped fixed(kPage, PROT_READ);
  ExpectRefusal(ExplainHere(fixed.data(), kPage, "lr", {"--json", "-d", "loopback"}),
                {"EFAULT", "loopback takes pages for writing", "anonymous r--"});
}

TEST(ExplainTool, ExplainsTheLimitsOfTheProcessThatIsAskedAbout) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const Mapped memory(64 * kPage);
  for (const rlim_t limit : {rlim_t{0}, rlim_t{8 * kPage}}) {
    ToolOptions options;  // "self" is the tool, which has its own memory; only its limits matter.
    options.before_exec = [limit] {
      const rlimit pinned{limit, limit};
      return setrlimit(RLIMIT_MEMLOCK, &pinned) == 0 && setgid(65534) == 0 && setuid(65534) == 0 &&
             access(LINCHPIN_TOOL, X_OK) == 0;
    };
    const ToolRun run = RunTool(
        {"explain", "self", Address(memory.data()), std::to_string(memory.size()), "lr", "--json"},
        options);
    if (run.status == 126) GTEST_SKIP() << "the tool is not accessible to others than root";
    ExpectRefusal(run, limit == 0 ? Refusal{"EPERM", "it may pin nothing", ""}
                                  : Refusal{"ENOMEM", "needs 262144 more", ""});
    EXPECT_EQ(run.json()["limits"]["memlock_bytes"], limit);
  }
}

TEST(ExplainTool, SaysWhoMayLookAtAProcess) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const Mapped memory(kPage);
  ToolOptions options;
  options.before_exec = [] {
    return setgid(65534) == 0 && setuid(65534) == 0 && access(LINCHPIN_TOOL, X_OK) == 0;
  };
  const ToolRun run =
      RunTool({"explain", std::to_string(getpid()), Address(memory.data()), "4K", "lw"}, options);
  if (run.status == 126) GTEST_SKIP() << "the tool is not accessible to others than root";
  EXPECT_EQ(run.status, 2);
  EXPECT_TRUE(IsOneErrorLine(run.err.substr(run.err.find("linchpin: ")))) << run.err;
  EXPECT_THAT(run.err, HasSubstr("be the user of that process"));
  EXPECT_EQ(run.out, "");
}

TEST(ExplainTool, SaysTheSameInWords) {
  const Mapped memory(2 * kPage, PROT_READ);
  const ToolRun run = ExplainHere(memory.data(), memory.size(), "LocalWrite");
  EXPECT_EQ(run.status, 2);
  for (const char* part : {"refused (EFAULT)", "without the write permission", "PROT_WRITE",
                           "anonymous r--", "RLIMIT_MEMLOCK"}) {
    EXPECT_THAT(run.out, HasSubstr(part));
  }
}

TEST(ExplainTool, ANameWithAnEscapeInItDoesNothingToTheTerminal) {
  const Fd fd(memfd_create("\033[31mred", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  void* const memory = mmap(nullptr, 2 * kPage, PROT_READ, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  const ToolRun run = ExplainHere(memory, 2 * kPage, "lw");
  munmap(memory, 2 * kPage);
  EXPECT_EQ(run.status, 2);
  for (const std::string& text : {run.out, run.err}) {
    EXPECT_EQ(text.find('\033'), std::string::npos);
    EXPECT_THAT(text, HasSubstr("\\x1b[31mred"));
  }
}

TEST(ExplainTool, SaysWhatItDoesNotUnderstandInOneLine) {
  const struct {
    std::vector<std::string> arguments;
    int status;
    std::string said;
  } kCases[] = {
      {{"explain"}, 1, "PID"},
      {{"explain", "self", "0x1000", "4K"}, 1, "RIGHTS"},
      {{"explain", "nobody", "0x1000", "4K", "lw"}, 1, "PID: \"nobody\""},
      {{"explain", "0", "0x1000", "4K", "lw"}, 1, "PID: \"0\""},
      {{"explain", "4194304", "0x1000", "4K", "lw"}, 1, "no process 4194304"},
      {{"explain", "self", "there", "4K", "lw"}, 1, "ADDRESS: \"there\""},
      {{"explain", "self", "0x", "4K", "lw"}, 1, "ADDRESS: \"0x\""},
      {{"explain", "self", "0", "4K", "lw"}, 1, "null"},
      {{"explain", "self", "0x1000", "0", "lw"}, 1, "LENGTH: \"0\""},
      {{"explain", "self", "0xffffffffffffff00", "4K", "lw"}, 1, "wrap around"},
      {{"explain", "self", "0x1000", "4K", "write"}, 1, "\"write\" is no right"},
      {{"explain", "self", "0x1000", "4K", "lw,"}, 1, "\"\" is no right"},
      {{"explain", "self", "0x1000", "4K", "lw", "--kind", "long"}, 1, "--kind: \"long\""},
      {{"explain", "self", "0x1000", "4K", "lw", "-d", "nonsense"}, 1, "no device \"nonsense\""},
  };
  for (const auto& one : kCases) {
    const ToolRun run = RunTool(one.arguments);
    EXPECT_EQ(run.status, one.status) << one.said;
    EXPECT_TRUE(IsOneErrorLine(run.err)) << run.err;
    EXPECT_THAT(run.err, HasSubstr(one.said));
    EXPECT_EQ(run.out, "");
  }
}

}  // namespace
}  // namespace linchpin::testing
