// Truncation of a guarded file by another process.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "gtest/gtest.h"

#include "linchpin/cache.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {

// A child truncates the file at `path`, whose pins `held` is one of. That must succeed, and no
// sooner than this process has but `pins_before` bytes pinned, as before there were any.
inline void ExpectTruncationAfterThePins(const std::string& path, const Lease& held,
                                         std::uint64_t pins_before) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(truncate(path.c_str(), 0) == 0 ? 0 : 1);
  }
  int status = -1;
  EXPECT_TRUE(WaitFor("the truncation", [&] { return waitpid(child, &status, WNOHANG) == child; }));
  EXPECT_EQ(PinnedBytes(), pins_before) << "the file shrank under its pins";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(held.revoked());
  EXPECT_EQ(std::filesystem::file_size(path), 0u);
}

}  // namespace linchpin::testing
