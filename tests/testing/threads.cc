#include "tests/testing/threads.h"

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>

#include "lib/base/check.h"
#include "tests/testing/pins.h"

namespace linchpin::testing {
namespace {

// How often each of the other threads has gone to sleep so far; nothing while one of them does not
// sleep. The kernel writes the state first and the count later, so a thread with the same count
// in two of these has slept from the end of the first to the beginning of the second.
using Sleeps = std::map<std::string, std::string>;

std::optional<Sleeps> LookAtOtherThreads() {
  const std::string own = std::to_string(gettid());
  Sleeps sleeps;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    const std::string id = task.path().filename();
    if (id == own) continue;
    std::ifstream status(task.path() / "status");
    bool asleep = false;
    bool ended = true;
    for (std::string line; std::getline(status, line);) {
      ended = false;
      if (line.starts_with("State:")) asleep = line.find("S (sleeping)") != std::string::npos;
      if (line.starts_with("voluntary_ctxt_switches:")) sleeps[id] = line;
    }
    if (!asleep && !ended) return std::nullopt;
  }
  return sleeps;
}

}  // namespace

void AwaitSleepOfOtherThreads() {
  LINCHPIN_CHECK(WaitFor("all other threads asleep", [] {
    const auto first = LookAtOtherThreads();
    return first.has_value() && first == LookAtOtherThreads();
  }));
}

}  // namespace linchpin::testing
