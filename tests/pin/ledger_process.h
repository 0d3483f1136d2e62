// LedgerProcess: another process with a ledger, which goes on when the test says so.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>

#include "lib/base/check.h"
#include "lib/base/fd.h"

namespace linchpin::testing {

class LedgerProcess final {
 public:
  // Says to the test that what it waits for is done, and waits until the test has seen it.
  using Pause = std::function<void()>;

  // Forks a child that calls `body` and ends. Returns when the child has paused for the first time.
  explicit LedgerProcess(const std::function<void(const Pause&)>& body) {
    std::array<int, 2> done{};
    std::array<int, 2> go{};
    LINCHPIN_CHECK(pipe(done.data()) == 0 && pipe(go.data()) == 0);
    pid_ = fork();
    LINCHPIN_CHECK(pid_ >= 0);
    if (pid_ == 0) {
      alarm(180);
      close(done[0]);
      close(go[1]);
      body([&] {
        char byte = 0;
        if (write(done[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(0);
      });
      _exit(0);
    }
    close(done[1]);
    close(go[0]);
    done_.Reset(done[0]);
    go_.Reset(go[1]);
    AwaitPause();
  }
  LedgerProcess(const LedgerProcess&) = delete;
  LedgerProcess& operator=(const LedgerProcess&) = delete;
  ~LedgerProcess() {
    go_.Reset(-1);
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  // Lets the child go on from its pause.
  void Go() const {
    const char byte = 0;
    LINCHPIN_CHECK(write(go_.get(), &byte, 1) == 1);
  }
  // Returns when the child pauses again. Aborts if it has ended.
  void AwaitPause() const {
    char byte = 0;
    LINCHPIN_CHECK(read(done_.get(), &byte, 1) == 1);
  }
  void GoToNextPause() const {
    Go();
    AwaitPause();
  }

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  Fd done_, go_;
};

}  // namespace linchpin::testing
