// `linchpin doctor`: its checks, and that it sees what was taken away from it.
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>
#include <string>

#include "gtest/gtest.h"

#include "tests/apps/tool.h"

namespace linchpin::testing {
namespace {

using Json = nlohmann::json;

Json CheckNamed(const Json& json, const std::string& name) {
  for (const Json& check : json.value("checks", Json::array())) {
    if (check.value("name", "") == name) return check;
  }
  ADD_FAILURE() << "no check " << name << " in " << json.dump(2);
  return Json::object({{"name", name}, {"state", ""}, {"detail", ""}, {"remedy", ""}});
}

TEST(Doctor, EachCheckHasANameAStateADetailAndARemedyWhereItIsNotOk) {
  const ToolRun run = RunTool({"doctor", "--json"});
  const Json json = run.json();
  ASSERT_TRUE(json.is_object()) << run.out << run.err;
  ASSERT_TRUE(json["checks"].is_array());
  const std::set<std::string> states{"ok", "warning", "problem"};
  bool problem = false;
  for (const Json& check : json["checks"]) {
    SCOPED_TRACE(check.dump());
    const auto state = check.at("state").get<std::string>();
    EXPECT_TRUE(states.contains(state));
    EXPECT_NE(check.at("name"), "");
    EXPECT_NE(check.at("detail"), "");
    EXPECT_EQ(check.at("remedy").get<std::string>().empty(), state == "ok");
    problem = problem || state == "problem";
  }
  EXPECT_EQ(run.status, problem ? 2 : 0);
  for (const char* name : {"devices", "device loopback", "memlock", "pinned", "max_map_count",
                           "userfaultfd", "io_uring", "fork", "membarrier"}) {
    CheckNamed(json, name);
  }
}

TEST(Doctor, ShowsEachRdmaDeviceWithItsLimits) {
  const std::vector<std::string> devices = Devices();
  if (devices.size() == 1) GTEST_SKIP() << "no RDMA device";
  const Json json = RunTool({"doctor", "--json"}).json();
  for (const std::string& name : devices) {
    if (name == "loopback") continue;
    EXPECT_NE(CheckNamed(json, "device " + name)["detail"].get<std::string>().find("port 1"),
              std::string::npos);
    EXPECT_NE(CheckNamed(json, "limits " + name)["detail"].get<std::string>().find("max_mr"),
              std::string::npos);
  }
}

TEST(Doctor, AgreesWithItselfInBothForms) {
  const ToolRun text = RunTool({"doctor"});
  const ToolRun json = RunTool({"doctor", "--json"});
  EXPECT_EQ(text.status, json.status);
  const Json whole = json.json();
  for (const Json& check : whole["checks"]) {
    EXPECT_NE(text.out.find(check["name"].get<std::string>()), std::string::npos) << check.dump();
  }
}

TEST(Doctor, AnUnprivilegedProcessThatMayPinNothingIsAProblemWithARemedy) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  ToolOptions options;
  options.before_exec = [] {
    const rlimit none{0, 0};
    return setrlimit(RLIMIT_MEMLOCK, &none) == 0 && setgid(65534) == 0 && setuid(65534) == 0 &&
           access(LINCHPIN_TOOL, X_OK) == 0;
  };
  const ToolRun run = RunTool({"doctor", "--json"}, options);
  if (run.status == 126) GTEST_SKIP() << "the tool is not accessible to others than root";
  EXPECT_EQ(run.status, 2) << run.err;
  // libibverbs may have a warning of its own before it.
  EXPECT_TRUE(IsOneErrorLine(run.err.substr(run.err.find("linchpin: ")))) << run.err;
  const Json check = CheckNamed(run.json(), "memlock");
  EXPECT_EQ(check["state"], "problem");
  EXPECT_NE(check["detail"].get<std::string>().find("soft 0 KiB"), std::string::npos);
  EXPECT_NE(check["detail"].get<std::string>().find("without CAP_IPC_LOCK"), std::string::npos);
  EXPECT_NE(check["remedy"].get<std::string>().find("ulimit -l"), std::string::npos);
}

TEST(Doctor, SeesACapabilityAndALimit) {
  if (geteuid() != 0) GTEST_SKIP() << "only root has the capability";
  ToolOptions options;
  options.before_exec = [] {
    const rlimit small{65536, 65536};
    return setrlimit(RLIMIT_MEMLOCK, &small) == 0;
  };
  const Json check = CheckNamed(RunTool({"doctor", "--json"}, options).json(), "memlock");
  const auto detail = check["detail"].get<std::string>();
  EXPECT_NE(detail.find("soft 64 KiB"), std::string::npos) << detail;
  if (prctl(PR_CAPBSET_READ, CAP_IPC_LOCK) != 1) GTEST_SKIP() << "root here has no CAP_IPC_LOCK";
  EXPECT_EQ(check["state"], "ok") << detail;
}

}  // namespace
}  // namespace linchpin::testing
