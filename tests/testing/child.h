// RunInChild: a piece of a test in a forked child, which may give up rights, limits or its life.
#pragma once

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <functional>
#include <string>

#include "lib/base/fd.h"

namespace linchpin::testing {

// What a body running in a child says when something is wrong; empty when nothing is.
using Complaint = std::string;
using Body = std::function<Complaint()>;

// Returns: the child's complaint, or how it died.
inline Complaint RunInChild(const Body& body, bool raw_clone = false) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return "no pipe";
  Fd read_end(ends[0]);
  Fd write_end(ends[1]);
  const auto child =
      raw_clone ? static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) : fork();
  if (child == 0) {
    alarm(60);  // A child that hangs is a failure, not a test that hangs.
    const Complaint complaint = body();
    const auto written = write(write_end.get(), complaint.data(), complaint.size());
    _exit(written == static_cast<ssize_t>(complaint.size()) ? 0 : 1);
  }
  write_end.Reset(-1);
  Complaint complaint;
  std::array<char, 512> text{};
  for (ssize_t count = 0; (count = read(read_end.get(), text.data(), text.size())) > 0;) {
    complaint.append(text.data(), static_cast<std::size_t>(count));
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    complaint += "the child ended with status " + std::to_string(status);
  }
  return complaint;
}

inline void SetLimit(__rlimit_resource resource, rlim_t value) {
  rlimit limit{};
  getrlimit(resource, &limit);
  limit.rlim_cur = value;
  if (resource == RLIMIT_MEMLOCK) limit.rlim_max = value;
  setrlimit(resource, &limit);
}

// Becomes a user without privilege, whom no process of another test locks memory as.
inline bool DropPrivilege(std::uint32_t which, pid_t test = getppid()) {
  if (geteuid() != 0) return true;
  const uid_t id = 200000 + (static_cast<std::uint32_t>(test) % 50000) * 8 + which;
  return setgid(id) == 0 && setuid(id) == 0;
}

}  // namespace linchpin::testing
