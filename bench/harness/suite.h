// The main function of every benchmark: its command line, its scenarios one after another, and its
// rows on standard output.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/harness/options.h"
#include "bench/harness/row.h"

namespace linchpin::bench {

// Contenders that are measured together, and the rows that come of it.
struct Scenario {
  std::string name;  // What --filter looks at.
  std::function<std::vector<Row>(const Options&)> run;
};

struct Suite {
  std::string name;
  std::string purpose;  // For --help.
  std::vector<Scenario> scenarios;
  std::vector<std::string> notes = {};  // What a reader of the rows should know.
};

// Runs what the command line asks for: the rows go to standard output, progress to standard error.
// Returns: the exit code: 0; 1 when the command line makes no sense. Ends with 2 where a benchmark
// cannot go on, and with 77 where the machine lacks what it needs.
int RunSuite(const Suite& suite, int argc, char** argv);

}  // namespace linchpin::bench
