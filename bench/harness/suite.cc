#include "bench/harness/suite.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "CLI/CLI.hpp"
#include "bench/harness/crew.h"

namespace linchpin::bench {
namespace {

constexpr int kUsage = 1;
constexpr int kUnusable = 2;
constexpr int kRoundsMost = 100'000;

// Libraries that write to standard output, as UCX does with its warnings, would spoil the JSON:
// they get standard error in its place, and the rows go to what was standard output.
class RowOutput final {
 public:
  RowOutput() : fd_(dup(STDOUT_FILENO)) {
    if (fd_ < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) Fail("cannot redirect standard output");
  }
  ~RowOutput() { close(fd_); }
  RowOutput(const RowOutput&) = delete;
  RowOutput& operator=(const RowOutput&) = delete;

  void Write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t written = write(fd_, text.data(), text.size());
      if (written <= 0) Fail("cannot write the rows");
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }

 private:
  int fd_;
};

[[noreturn]] void EndWith(int code, const std::string& reason) {
  std::fprintf(stderr, "bench: %s\n", reason.c_str());
  std::fflush(nullptr);
  _exit(code);  // Other threads may be in the middle of a round: no destructor may run.
}

// Returns: the exit code when there is nothing to run: a usage error, or --help.
std::optional<int> Parse(const Suite& suite, int argc, char** argv, Options& options) {
  CLI::App app(suite.purpose, suite.name);
  app.add_flag("--json", options.json, "Machine-readable rows");
  app.add_option("--rounds", options.rounds, "Interleaved rounds of each comparison")
      ->check(CLI::Range(1, kRoundsMost))
      ->capture_default_str();
  app.add_option("--filter", options.filter, "Only scenarios whose name contains this")
      ->type_name("TEXT");
  app.add_flag("--quick", options.quick, "Few regions, short blocks: only shows that it runs");
  std::string footer = "Scenarios:\n";
  for (const Scenario& scenario : suite.scenarios) footer += "  " + scenario.name + "\n";
  app.footer(footer);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return std::nullopt;
}

std::vector<Row> RunScenarios(const Suite& suite, const Options& options) {
  std::vector<Row> rows;
  for (const Scenario& scenario : suite.scenarios) {
    if (scenario.name.find(options.filter) == std::string::npos) continue;
    std::fprintf(stderr, "%s: %s\n", suite.name.c_str(), scenario.name.c_str());
    const std::vector<Row> more = scenario.run(options);
    rows.insert(rows.end(), more.begin(), more.end());
  }
  return rows;
}

}  // namespace

void Fail(const std::string& reason) {
  EndWith(kUnusable, reason);
}

void Skip(const std::string& reason) {
  EndWith(kSkippedCode, reason);
}

int RunSuite(const Suite& suite, int argc, char** argv) {
  Options options;
  if (const std::optional<int> code = Parse(suite, argc, argv, options)) return *code;
  const RowOutput output;
  const Crew parked(1);  // In a process of one thread, glibc elides the locks of its mutexes.
  const std::vector<Row> rows = RunScenarios(suite, options);
  if (rows.empty()) {
    std::fprintf(stderr, "%s: no scenario contains \"%s\"\n", suite.name.c_str(),
                 options.filter.c_str());
    return kUsage;
  }
  if (options.json) {
    output.Write(ToJson(suite.name, rows, suite.notes));
    return 0;
  }
  output.Write(ToTable(rows));
  for (const std::string& note : suite.notes) output.Write("note: " + note + "\n");
  return 0;
}

}  // namespace linchpin::bench
