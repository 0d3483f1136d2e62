// One line for each error: newlines that a path, an argument or a library put into a message would
// make it two, and other control characters would do to the terminal what they like.
#include "apps/linchpin/report.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>

#include "apps/linchpin/printable.h"
#include "lib/base/error.h"

namespace linchpin {
namespace {

void PrintErrorLine(std::string line) {
  while (!line.empty() && line.back() == '\n') line.pop_back();
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  std::fprintf(stderr, "linchpin: %s\n", Printable(line).c_str());
}

}  // namespace

ExitCode Fail(ExitCode code, const std::string& message) {
  PrintErrorLine(message);
  return code;
}

ExitCode Fail(ExitCode code, const absl::Status& status) {
  return Fail(code, std::string(status.message()));
}

void Warn(const std::string& message) {
  PrintErrorLine("warning: " + message);
}

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

ExitCode FinishOutput(ExitCode code) {
  errno = 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (flushed && std::ferror(stdout) == 0) return code;
  // An error of an earlier write has left no errno.
  const ExitCode failed =
      Fail(ExitCode::kUnusable, errno == 0 ? std::string("standard output cannot be written")
                                           : "standard output: " + ErrnoText(errno));
  return code == ExitCode::kOk ? failed : code;
}

}  // namespace linchpin
