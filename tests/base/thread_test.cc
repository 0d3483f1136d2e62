// The library's own threads: their name and signals, and that failing to start is a status.
#include "lib/base/thread.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "lib/base/fd.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;

constexpr unsigned kNobody = 65534;

TEST(Thread, RunsItsBody) {
  std::atomic<bool> ran = false;
  absl::StatusOr<Thread> thread = Thread::Start("runs", [&ran] { ran = true; });
  ASSERT_TRUE(thread.ok()) << thread.status();
  EXPECT_TRUE(thread->joinable());
  thread->Join();
  EXPECT_TRUE(ran);
  EXPECT_FALSE(thread->joinable());
}

TEST(Thread, BlocksEverySignalAndLeavesTheStartersMaskAlone) {
  sigset_t before;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &before), 0);
  sigset_t inside;
  sigemptyset(&inside);
  auto thread = Thread::Start("mask", [&] { pthread_sigmask(SIG_SETMASK, nullptr, &inside); });
  ASSERT_TRUE(thread.ok()) << thread.status();
  thread->Join();
  sigset_t after;
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &after), 0);
  for (int signal = 1; signal <= SIGRTMAX; ++signal) {
    EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
    const bool is_the_c_librarys = signal > SIGSYS && signal < SIGRTMIN;
    if (signal == SIGKILL || signal == SIGSTOP || is_the_c_librarys) continue;  // Never blocked.
    EXPECT_EQ(sigismember(&inside, signal), 1) << signal;
  }
}

TEST(Thread, HasItsNameCutToFifteenCharacters) {
  std::array<char, 32> name{};
  std::atomic<bool> started = false;
  auto thread = Thread::Start("linchpin-monitor-of-memory", [&] {
    while (!started) {  // The starter gives the name.
    }
    pthread_getname_np(pthread_self(), name.data(), name.size());
  });
  ASSERT_TRUE(thread.ok()) << thread.status();
  started = true;
  thread->Join();
  EXPECT_STREQ(name.data(), "linchpin-monito");
}

TEST(Thread, KnowsItself) {
  Thread thread;
  std::atomic<bool> ready = false;
  std::atomic<bool> is_current = false;
  auto started = Thread::Start("itself", [&] {
    while (!ready) {
    }
    is_current = thread.IsCurrent();
  });
  ASSERT_TRUE(started.ok()) << started.status();
  thread = *std::move(started);
  EXPECT_FALSE(thread.IsCurrent());
  ready = true;
  thread.Join();
  EXPECT_TRUE(is_current);
}

TEST(Thread, MovesWithoutEndingTheThread) {
  std::atomic<int> runs = 0;
  auto started = Thread::Start("moves", [&runs] { ++runs; });
  ASSERT_TRUE(started.ok()) << started.status();
  Thread first = *std::move(started);
  Thread second = std::move(first);
  EXPECT_TRUE(second.joinable());
  second.Join();
  EXPECT_EQ(runs, 1);
}

TEST(ThreadDeathTest, MayNotBeDestroyedWhileItRuns) {
  EXPECT_DEATH(
      {
        const absl::StatusOr<Thread> thread = Thread::Start("forgotten", [] { pause(); });
        static_cast<void>(thread.ok());
      },
      "CHECK failed: !started_");
}

// In a child: becomes an ordinary user who may have no more threads, tries to start one, and writes
// what Start said.
[[noreturn]] void StartWithoutRoom(int output) {
  const rlimit none{0, 0};
  if (geteuid() == 0) {  // Root may always have more.
    syscall(SYS_setresgid, kNobody, kNobody, kNobody);
    syscall(SYS_setresuid, kNobody, kNobody, kNobody);
  }
  if (setrlimit(RLIMIT_NPROC, &none) != 0 || geteuid() == 0) _exit(1);
  absl::StatusOr<Thread> thread = Thread::Start("no-room", [] {});
  if (thread.ok()) thread->Join();
  const std::string said = thread.status().ToString();
  _exit(write(output, said.data(), said.size()) == static_cast<ssize_t>(said.size()) ? 0 : 2);
}

TEST(Thread, ThatCannotStartIsAStatusWithTheRemedy) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) StartWithoutRoom(write_end.get());
  write_end.Reset(-1);
  std::array<char, 512> said{};
  const ssize_t length = read(read_end.get(), said.data(), said.size() - 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_GT(length, 0);
  EXPECT_THAT(said.data(), HasSubstr("RESOURCE_EXHAUSTED: starting the thread no-room: EAGAIN"));
  EXPECT_THAT(said.data(), HasSubstr("RLIMIT_NPROC"));
}

}  // namespace
}  // namespace linchpin
