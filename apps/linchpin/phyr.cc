// linchpin phyr: where the memory of a process is physically, and what a device would need to
// translate it.
#include <unistd.h>

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/phyr/plot.h"
#include "apps/linchpin/phyr/self_test.h"
#include "apps/linchpin/phyr/show.h"
#include "apps/linchpin/proc_file.h"
#include "apps/linchpin/process_range.h"
#include "apps/linchpin/report.h"
#include "apps/linchpin/subcommand.h"
#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

struct Options {
  ProcessRangeArguments where;
  bool self_test = false;
  bool all = false;
  bool json = false;
  std::optional<std::string> plot;

  std::size_t shown_most() const {
    if (all) return std::numeric_limits<std::size_t>::max();
    return self_test ? kEntriesShownOfEach : kEntriesShown;
  }
  bool names_range() const { return !where.pid.empty(); }  // The first of the three.
};

pid_t NumberOf(pid_t pid) {
  return pid == 0 ? getpid() : pid;
}

std::string ToText(const ProcessRange& where, const PhyrView& view, std::size_t shown_most) {
  std::string text =
      absl::StrFormat("process %d, %s\n", NumberOf(where.pid), where.range.ToString());
  if (const std::string unknown = UnknownText(view.summary); !unknown.empty()) {
    absl::StrAppend(&text, unknown, "\n");
  }
  return absl::StrCat(text, EntriesText(view, shown_most), SummaryText(view));
}

std::string ToJson(const ProcessRange& where, const PhyrView& view, std::size_t shown_most) {
  nlohmann::ordered_json json = {{"pid", NumberOf(where.pid)}};
  json.update(ToJson(view, shown_most));
  return json.dump(2) + "\n";
}

// A picture is the last of what is asked for: what was found is printed, whatever becomes of it.
ExitCode Draw(const Options& options, const std::string& title,
              const std::vector<PlotSeries>& series) {
  if (!options.plot) return ExitCode::kOk;
  const absl::Status drawn = PlotContiguity(*options.plot, title, series);
  return drawn.ok() ? ExitCode::kOk : Fail(ExitCode::kUnusable, drawn);
}

// Of a process that has no mappings, the range would look like a hole.
bool HasNoMemory(pid_t pid) {
  return ReadNumber(ProcPath(pid, "statm")).value_or(0) == 0;
}

ExitCode RunRange(const Options& options) {
  const auto where = options.where.Parse();
  if (!where.ok()) return Fail(ExitCode::kUsage, where.status());
  auto list = ReadPhyrs(where->range, {.pid = where->pid});
  if (list.status().code() == absl::StatusCode::kNotFound || HasNoMemory(where->pid)) {
    return Fail(ExitCode::kUnusable,
                absl::StrFormat("process %d has no memory: it is the kernel's own, or has ended",
                                NumberOf(where->pid)));
  }
  if (!list.ok()) return Fail(ExitCode::kUnusable, list.status());
  const auto view = MakeView(*std::move(list), where->range.start);
  if (!view.ok()) return Fail(ExitCode::kUnusable, view.status());
  Print(options.json ? ToJson(*where, *view, options.shown_most())
                     : ToText(*where, *view, options.shown_most()));
  const std::string title =
      absl::StrFormat("Physical contiguity of process %d, %#x-%#x", NumberOf(where->pid),
                      where->range.start, where->range.end);
  return Draw(options, title, {{"in memory", view->summary.histogram}});
}

ExitCode RunSelfTest(const Options& options) {
  const PhyrSelfTest test = TestPhyrs();
  Print(options.json ? ToJson(test, options.shown_most()) : ToText(test, options.shown_most()));
  std::vector<PlotSeries> series;
  for (const TestedMemory& memory : test.memories) {
    if (memory.view) series.push_back({memory.name, memory.view->summary.histogram});
  }
  const ExitCode drawn = Draw(options, "Physical contiguity, by kind of memory", series);
  if (test.failed() == 0) return drawn;
  return Fail(ExitCode::kUnusable, absl::StrCat(test.failed(), " checks have failed"));
}

ExitCode Run(const Options& options) {
  if (options.plot && options.plot->empty()) return Fail(ExitCode::kUsage, "--plot: is empty");
  if (options.self_test && !options.names_range()) return RunSelfTest(options);
  if (!options.self_test && options.where.length.empty()) {
    return Fail(ExitCode::kUsage, "PID ADDRESS LENGTH are needed, or --self-test");
  }
  if (!options.self_test) return RunRange(options);
  return Fail(ExitCode::kUsage,
              "--self-test makes memory of its own; leave PID ADDRESS LENGTH out");
}

}  // namespace

void AddPhyr(CLI::App& app, Action& action) {
  CLI::App* phyr = app.add_subcommand(
      "phyr", "Shows where the memory of a process is physically, and how contiguous");
  const auto options = std::make_shared<Options>();
  options->where.AddTo(*phyr, false);
  phyr->add_flag("--self-test", options->self_test,
                 "Makes memory of each kind, and checks what is said of it");
  phyr->add_flag("--all", options->all, "Every physical range, not the first ones alone");
  phyr->add_option("--plot", options->plot, "A picture of the contiguity, drawn by gnuplot")
      ->type_name("FILE.svg");
  phyr->add_flag("--json", options->json, "Machine-readable output");
  phyr->callback([options, &action] { action = [options] { return Run(*options); }; });
}

}  // namespace linchpin
