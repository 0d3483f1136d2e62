#include "tests/monitor/support.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "tests/testing/threads.h"

// Children of a process with threads start threads of their own, which TSan must be told to allow.
// NOLINTBEGIN(bugprone-reserved-identifier): the name is TSan's.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() {
  return "die_after_fork=0";
}
// NOLINTEND(bugprone-reserved-identifier)

namespace linchpin::testing {

void Recorder::OnChanged(Range range) {
  const std::size_t at = count_.load(std::memory_order_relaxed);
  if (at < kCapacity) ranges_[at] = range;
  count_.store(at + 1, std::memory_order_release);
}

bool Recorder::Heard(Range range) const {
  const std::size_t known = std::min(count(), kCapacity);
  for (std::size_t i = 0; i < known; ++i) {
    if (ranges_[i].Contains(range)) return true;
  }
  return false;
}

Deadline::Deadline(const char* what)
    : thread_([this, what] {
        std::unique_lock<std::mutex> lock(mutex_);
        if (condition_.wait_for(lock, std::chrono::seconds(30), [this] { return over_; })) return;
        std::fprintf(stderr, "%s: still not done after 30 s\n", what);
        std::abort();
      }) {}

Deadline::~Deadline() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    over_ = true;
  }
  condition_.notify_all();
  thread_.join();
}

pid_t StartChild(Fork how, const std::function<int()>& body) {
  std::fflush(nullptr);
  AwaitSleepOfOtherThreads();
  const auto child =
      how == Fork::kLibc ? fork() : static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  if (child == 0) {
    alarm(60);  // Whatever happens to the parent, no child is left behind.
    const int result = body();
    std::fflush(nullptr);
    _exit(result);
  }
  return child;
}

int ExitStatus(pid_t child) {
  int status = 0;
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

}  // namespace linchpin::testing
