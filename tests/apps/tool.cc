// The output goes to memory files, not pipes: a tool that prints much never waits for its reader.
#include "tests/apps/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "apps/transport/transport.h"
#include "lib/base/check.h"
#include "linchpin/monitor.h"

namespace linchpin::testing {
namespace {

std::string ContentsOf(int fd) {
  std::string text;
  char piece[4096];
  off_t offset = 0;
  for (ssize_t n = 0; (n = pread(fd, piece, sizeof(piece), offset)) > 0; offset += n) {
    text.append(piece, static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace

Tool::Tool(const std::vector<std::string>& arguments, const ToolOptions& options) {
  out_ = memfd_create("tool-out", MFD_CLOEXEC);
  err_ = memfd_create("tool-err", MFD_CLOEXEC);
  LINCHPIN_CHECK(out_ >= 0 && err_ >= 0);
  std::string path = LINCHPIN_TOOL;
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv{path.data()};
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_ = fork();
  LINCHPIN_CHECK(pid_ >= 0);
  if (pid_ != 0) return;
  const int output =
      options.output.empty() ? out_ : open(options.output.c_str(), O_WRONLY | O_CLOEXEC);
  if (output < 0 || dup2(output, 1) < 0 || dup2(err_, 2) < 0) _exit(125);
  if (options.before_exec && !options.before_exec()) _exit(126);
  execv(path.c_str(), argv.data());
  _exit(127);
}

Tool::~Tool() {
  if (pid_ >= 0) {
    Kill(SIGKILL);
    Wait();
  }
  close(out_);
  close(err_);
}

void Tool::Kill(int signal) const {
  kill(pid_, signal);
}

bool Tool::HasPrinted() const {
  struct stat status {};
  return fstat(out_, &status) == 0 && status.st_size > 0;
}

ToolRun Tool::Wait() {
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  ToolRun run;
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  run.out = ContentsOf(out_);
  run.err = ContentsOf(err_);
  return run;
}

ToolRun RunTool(const std::vector<std::string>& arguments, const ToolOptions& options) {
  return Tool(arguments, options).Wait();
}

bool IsOneErrorLine(const std::string& text) {
  return text.starts_with("linchpin: ") && std::count(text.begin(), text.end(), '\n') == 1 &&
         text.back() == '\n';
}

std::vector<std::string> Devices() {
  std::vector<std::string> names{"loopback"};
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/infiniband", error)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

std::string WhyNotUsable(const std::string& device) {
  const absl::StatusOr<std::shared_ptr<Device>> opened = OpenDevice(device);
  return opened.ok() ? std::string() : std::string(opened.status().message());
}

bool MemoryIsWatched() {
  return MemoryMonitor::Shared()->status().ok();
}

}  // namespace linchpin::testing
