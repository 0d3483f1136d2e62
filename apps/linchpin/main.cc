// linchpin: the command-line tool. Data goes to standard output, everything else to standard error;
// an error is one line.
#include <algorithm>
#include <exception>
#include <string>
#include <vector>

#include "CLI/App.hpp"
#include "CLI/Error.hpp"
#include "apps/linchpin/report.h"
#include "apps/linchpin/subcommand.h"

namespace linchpin {
namespace {

// What was wrong with the command line. An argument that nobody knows explains everything else: a
// missing subcommand is a misspelt one.
std::string Reason(const CLI::App& app, const CLI::ParseError& error) {
  std::vector<std::string> unknown = app.remaining(true);
  if (unknown.empty()) return error.what();
  std::sort(unknown.begin(), unknown.end());
  std::string text = "not understood:";
  for (const std::string& argument : unknown) text += " " + argument;
  return text;
}

ExitCode Run(int argc, char** argv) {
  CLI::App app("Registers RDMA memory once, and keeps the registrations true.", "linchpin");
  app.set_version_flag("--version", "linchpin " LINCHPIN_VERSION);
  app.require_subcommand(1);
  Action action;
  AddBench(app, action);
  AddDemo(app, action);
  AddDoctor(app, action);
  AddExplain(app, action);
  AddPhyr(app, action);
  AddPins(app, action);
  AddStat(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Asking for help or the version ends the parse in the same way, with exit code 0.
    if (error.get_exit_code() == 0) {
      app.exit(error);
      return ExitCode::kOk;
    }
    return Fail(ExitCode::kUsage, Reason(app, error) + " (--help shows the usage)");
  }
  return action();
}

}  // namespace
}  // namespace linchpin

int main(int argc, char** argv) {
  using linchpin::ExitCode;
  try {
    return static_cast<int>(linchpin::FinishOutput(linchpin::Run(argc, argv)));
  } catch (const std::exception& error) {  // No memory, and what a library we use may throw.
    return static_cast<int>(linchpin::Fail(ExitCode::kUnusable, error.what()));
  }
}
