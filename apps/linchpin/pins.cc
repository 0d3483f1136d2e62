// linchpin pins: what is pinned on this machine, by which processes, of which files.
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#include "apps/linchpin/phyr/summary.h"
#include "apps/linchpin/pins/show.h"
#include "apps/linchpin/pins/survey.h"
#include "apps/linchpin/quantity.h"
#include "apps/linchpin/report.h"
#include "apps/linchpin/subcommand.h"
#include "linchpin/phyr.h"

namespace linchpin {
namespace {

struct Options {
  std::optional<std::string> pid;
  std::optional<std::string> file;
  std::string by = "file";
  bool runs = false;
  bool json = false;
};

// What --file means: the names that /proc/PID/maps may have for it, and what it is, if it is there.
struct WantedFile {
  std::vector<std::string> names;
  std::optional<struct stat> status;

  explicit WantedFile(const std::string& name) {
    if (name.starts_with("memfd:")) {
      names.push_back("/" + name);
    } else {
      names.push_back(name);
    }
    struct stat found {};
    if (stat(name.c_str(), &found) == 0) status = found;
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(name, error);
    if (!error) names.push_back(real);
  }

  // File systems such as btrfs and overlayfs have one device for stat and another for maps, so the
  // name counts too, but not that of a file which is not there any more, if another one is.
  bool Is(const internal::ListedPin& pin) const {
    if (status && pin.file_device == status->st_dev && pin.file_inode == status->st_ino) {
      return true;
    }
    for (const std::string& name : names) {
      if (!pin.file.empty() && pin.file == name) return true;
      if (!status && pin.file == name + " (deleted)") return true;
    }
    return false;
  }
};

// Counts the physically contiguous runs of what nobody has counted, where the page map is to be
// had. A ledger may say anything, so not of more bytes than a machine could have looked at in
// seconds.
void CountRuns(Survey& survey, const PinFilter& wanted) {
  std::uint64_t bytes_left = std::uint64_t{256} << 30;
  for (PinningProcess& process : survey.processes) {
    for (internal::ListedPin& pin : process.contents.pins) {
      if (pin.runs != 0 || !wanted(pin) || pin.range.size() > bytes_left) continue;
      bytes_left -= pin.range.size();
      const absl::StatusOr<PhyrList> list = ReadPhyrs(pin.range, {.pid = process.pid});
      if (!list.ok()) continue;
      const PhyrList runs = Runs(*list);
      const bool known = !runs.empty() && runs[0].placed();
      if (known)
        pin.runs = static_cast<std::uint32_t>(std::min<std::size_t>(runs.size(), UINT32_MAX));
    }
  }
}

ExitCode Run(const Options& options) {
  std::optional<pid_t> pid;
  if (options.pid) {
    const absl::StatusOr<std::uint64_t> number =
        ParseCount("--pid", *options.pid, {.least = 1, .most = INT32_MAX});
    if (!number.ok()) return Fail(ExitCode::kUsage, number.status());
    pid = static_cast<pid_t>(*number);
  }
  if (options.file && options.file->empty()) return Fail(ExitCode::kUsage, "--file: is empty");
  if (options.by != "file" && options.by != "process") {
    return Fail(ExitCode::kUsage,
                absl::StrCat("--by: \"", options.by, "\" is neither file nor process"));
  }
  absl::StatusOr<Survey> survey = MakeSurvey(pid);
  if (absl::IsNotFound(survey.status())) return Fail(ExitCode::kUsage, survey.status());
  if (!survey.ok()) return Fail(ExitCode::kUnusable, survey.status());
  PinFilter wanted = [](const internal::ListedPin&) { return true; };
  const WantedFile file(options.file.value_or(""));
  if (options.file) {
    wanted = [&file](const internal::ListedPin& pin) { return file.Is(pin); };
  }
  const JoinBy by = options.by == "process" ? JoinBy::kProcess : JoinBy::kFile;
  if (options.runs) CountRuns(*survey, wanted);
  const std::vector<PinGroup> groups = Join(*survey, by, wanted);
  const bool is_path = options.file && options.file->find("memfd:") == std::string::npos;
  if (is_path && groups.empty() && !file.status) {
    return Fail(ExitCode::kUsage, absl::StrCat("--file: there is no file ", *options.file,
                                               ", and nothing is pinned of one of that name"));
  }
  Print(options.json ? ToJson(*survey, by, groups) : ToText(*survey, by, groups));
  return ExitCode::kOk;
}

}  // namespace

void AddPins(CLI::App& app, Action& action) {
  CLI::App* pins = app.add_subcommand(
      "pins", "Shows what is pinned on this machine, by which processes, of which files");
  const auto options = std::make_shared<Options>();
  pins->add_option("-p,--pid", options->pid, "Only that process")->type_name("PID");
  pins->add_option("-f,--file", options->file, "Only that file: a path, or memfd:NAME")
      ->type_name("FILE");
  pins->add_option("--by", options->by, "What to join pins by: file or process")->type_name("WHAT");
  pins->add_flag("--runs", options->runs, "Count the physically contiguous runs of each pin");
  pins->add_flag("--json", options->json, "Machine-readable output");
  pins->callback([options, &action] { action = [options] { return Run(*options); }; });
}

}  // namespace linchpin
