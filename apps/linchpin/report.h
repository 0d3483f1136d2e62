// What the tool says when it ends: its exit code, and one line on standard error.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace linchpin {

enum class ExitCode : int {
  kOk = 0,
  kUsage = 1,     // The command line makes no sense, or names a device that is not there.
  kUnusable = 2,  // The environment cannot do it, or what was transferred came out wrong.
  kSkipped = 77,  // There was nothing to do it with. Kept for subcommands that need hardware.
};

// Prints "linchpin: `message`" to standard error, as one line whatever `message` holds.
// Returns: `code`.
ExitCode Fail(ExitCode code, const std::string& message);

// The same for a status that is not OK: its message without its code.
ExitCode Fail(ExitCode code, const absl::Status& status);

// Prints "linchpin: warning: `message`" to standard error, as one line.
void Warn(const std::string& message);

// Writes `text` to standard output. What cannot be written is found by FinishOutput.
void Print(const std::string& text);

// Flushes standard output. Returns: `code`; kUnusable, after a line about it, when the output is
// incomplete and `code` was kOk.
ExitCode FinishOutput(ExitCode code);

}  // namespace linchpin
