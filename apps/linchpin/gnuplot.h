// Pictures: drawn by gnuplot, which is run as a program.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace linchpin {

// Runs gnuplot with a script that sets a terminal and draws to standard output.
// Returns: what it has drawn; NotFound when there is no gnuplot; otherwise what went wrong, with
// gnuplot's own words.
absl::StatusOr<std::string> RunGnuplot(const std::string& script);

// Writes `text` to the file `path`, which holds all of it afterwards, or what it held before.
// Returns: InvalidArgument for what is there and is no ordinary file; otherwise why it cannot be
// written.
absl::Status WriteWholeFile(const std::string& path, const std::string& text);

}  // namespace linchpin
