// linchpin doctor: what this machine and this process have for Linchpin, and what to do about the
// rest.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"

#include "apps/linchpin/doctor/check.h"
#include "apps/linchpin/report.h"
#include "apps/linchpin/subcommand.h"
#include "nlohmann/json.hpp"

namespace linchpin {
namespace {

std::string ToString(CheckState state) {
  switch (state) {
    case CheckState::kOk:
      return "ok";
    case CheckState::kWarning:
      return "warning";
    case CheckState::kProblem:
      return "problem";
  }
  return "unknown";
}

std::string ToText(const std::vector<Check>& checks) {
  std::string text;
  for (const Check& check : checks) {
    text += absl::StrFormat("%-8s %-18s %s\n", ToString(check.state), check.name, check.detail);
    if (!check.remedy.empty()) text += absl::StrFormat("%-8s %-18s -> %s\n", "", "", check.remedy);
  }
  return text;
}

std::string ToJson(const std::vector<Check>& checks) {
  nlohmann::ordered_json json = {{"checks", nlohmann::ordered_json::array()}};
  for (const Check& check : checks) {
    json["checks"].push_back({{"name", check.name},
                              {"state", ToString(check.state)},
                              {"detail", check.detail},
                              {"remedy", check.remedy}});
  }
  return json.dump(2) + "\n";
}

ExitCode RunDoctor(bool json) {
  std::vector<Check> checks;
  for (const auto& part : {CheckDevices(), CheckProcess(), CheckKernel()}) {
    checks.insert(checks.end(), part.begin(), part.end());
  }
  Print(json ? ToJson(checks) : ToText(checks));
  const auto problem = std::find_if(checks.begin(), checks.end(), [](const Check& check) {
    return check.state == CheckState::kProblem;
  });
  if (problem == checks.end()) return ExitCode::kOk;
  return Fail(ExitCode::kUnusable, problem->name + ": " + problem->detail);
}

}  // namespace

void AddDoctor(CLI::App& app, Action& action) {
  CLI::App* doctor = app.add_subcommand(
      "doctor", "Says what this machine and this process have for Linchpin, and what to change");
  const auto json = std::make_shared<bool>(false);
  doctor->add_flag("--json", *json, "Machine-readable output");
  doctor->callback([json, &action] { action = [json] { return RunDoctor(*json); }; });
}

}  // namespace linchpin
