// A process's cookie: the same for its life, and another in each forked child.
#include "lib/base/process.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "lib/base/fd.h"

namespace linchpin {
namespace {

pid_t Fork() {
  return fork();
}

// What a runtime with its own threads does: no pthread_atfork handler runs.
pid_t RawClone() {
  return static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

using Cookies = std::array<std::uint64_t, 2>;

// Returns: what `body` returned in a child made by `make_child`; zeros when that failed.
Cookies InChild(pid_t (*make_child)(), const std::function<Cookies()>& body) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return {};
  const Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const pid_t child = make_child();
  if (child == 0) {
    const Cookies cookies = body();
    const bool written = write(write_end.get(), &cookies, sizeof(cookies)) == sizeof(cookies);
    _exit(written ? 0 : 1);
  }
  write_end.Reset(-1);
  Cookies cookies{};
  if (read(read_end.get(), &cookies, sizeof(cookies)) != sizeof(cookies)) cookies = {};
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) cookies = {};
  return cookies;
}

Cookies Twice() {
  const std::uint64_t first = ProcessCookie();
  return {first, ProcessCookie()};
}

void ExpectAnotherCookie(pid_t (*make_child)()) {
  const std::uint64_t parent = ProcessCookie();
  const Cookies child = InChild(make_child, Twice);
  EXPECT_NE(child[0], 0U);
  EXPECT_NE(child[0], parent);
  EXPECT_EQ(child[0], child[1]);
  EXPECT_EQ(ProcessCookie(), parent);
}

TEST(ProcessCookie, StaysTheSameOnEveryThread) {
  const std::uint64_t cookie = ProcessCookie();
  EXPECT_NE(cookie, 0U);
  std::vector<std::uint64_t> seen(8);
  std::vector<std::thread> threads;
  for (std::uint64_t& slot : seen) threads.emplace_back([&slot] { slot = ProcessCookie(); });
  for (std::thread& thread : threads) thread.join();
  for (const std::uint64_t other : seen) EXPECT_EQ(other, cookie);
}

TEST(ProcessCookie, IsDrawnOnceWhenThreadsAskForItFirst) {
  // In a child no thread has asked yet. The threads start together, or nearly so.
  const Cookies least_and_most = InChild(Fork, [] {
    std::vector<std::uint64_t> seen(8);
    std::vector<std::thread> threads;
    for (std::uint64_t& slot : seen) threads.emplace_back([&slot] { slot = ProcessCookie(); });
    for (std::thread& thread : threads) thread.join();
    Cookies result{seen[0], seen[0]};
    for (const std::uint64_t cookie : seen) {
      result[0] = std::min(result[0], cookie);
      result[1] = std::max(result[1], cookie);
    }
    return result;
  });
  EXPECT_NE(least_and_most[0], 0U);
  EXPECT_EQ(least_and_most[0], least_and_most[1]);
}

TEST(ProcessCookie, IsAnotherInAForkedChild) {
  ExpectAnotherCookie(Fork);
}

TEST(ProcessCookie, IsAnotherInARawClone) {
  ExpectAnotherCookie(RawClone);
}

TEST(ProcessCookie, IsNoAncestorsInAGrandchild) {
  const std::uint64_t parent = ProcessCookie();
  const Cookies family = InChild(Fork, [] {
    return Cookies{ProcessCookie(), InChild(RawClone, Twice)[0]};
  });
  EXPECT_NE(family[0], 0U);
  EXPECT_NE(family[1], 0U);
  EXPECT_NE(family[1], family[0]);
  EXPECT_NE(family[1], parent);
}

TEST(ProcessCookie, IsNoAncestorsWhereTheChildNeverAsked) {
  const std::uint64_t parent = ProcessCookie();
  const Cookies grandchild = InChild(Fork, [] { return InChild(Fork, Twice); });
  EXPECT_NE(grandchild[0], 0U);
  EXPECT_NE(grandchild[0], parent);
}

}  // namespace
}  // namespace linchpin
