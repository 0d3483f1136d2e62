// PID ADDRESS LENGTH: a range of a process's memory, as a command line names it.
#pragma once

#include <sys/types.h>

#include <string>

#include "absl/status/statusor.h"

#include "CLI/App.hpp"
#include "linchpin/range.h"

namespace linchpin {

struct ProcessRange {
  pid_t pid = 0;  // 0: the tool's own process.
  Range range;
};

struct ProcessRangeArguments {
  std::string pid;
  std::string address;
  std::string length;

  // The three as positional arguments of `app`, which this must outlive.
  void AddTo(CLI::App& app, bool required);

  // Returns: the range; InvalidArgument, naming the argument and what it takes, for what is no
  // number, no process that is there, or no range of addresses.
  absl::StatusOr<ProcessRange> Parse() const;
};

}  // namespace linchpin
