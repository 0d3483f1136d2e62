#include "bench/harness/child.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "bench/harness/options.h"

namespace linchpin::bench {
namespace {

[[noreturn]] void RunAndExit(const std::function<std::vector<double>()>& measure, int fd) {
  const std::vector<double> values = measure();
  const std::size_t bytes = values.size() * sizeof(double);  // Far below what a pipe takes at once.
  if (write(fd, values.data(), bytes) != static_cast<ssize_t>(bytes)) Fail("cannot report");
  _exit(0);
}

}  // namespace

std::vector<double> RunInChild(const std::function<std::vector<double>()>& measure) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) Fail("cannot make a pipe");
  const pid_t child = fork();
  if (child < 0) Fail("cannot fork");
  if (child == 0) RunAndExit(measure, ends[1]);
  close(ends[1]);
  std::vector<double> values;
  double value = 0;
  while (read(ends[0], &value, sizeof(value)) == sizeof(value)) values.push_back(value);
  close(ends[0]);
  int status = 0;
  if (waitpid(child, &status, 0) != child) Fail("lost a measuring child");
  if (WIFEXITED(status) && WEXITSTATUS(status) == kSkippedCode) Skip("so did a measuring child");
  if (status != 0) Fail("a measuring child failed");
  return values;
}

double ResidentBytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  std::string word;
  while (file >> word) {
    double kib = 0;
    if (word == "Rss:" && file >> kib) return kib * 1024;
  }
  Fail("/proc/self/smaps_rollup does not say what is resident");
}

}  // namespace linchpin::bench
