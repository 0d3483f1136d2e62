#include "tests/testing/process.h"

#include <fstream>

namespace linchpin::testing {

std::uint64_t StatusBytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    std::uint64_t kilobytes = 0;
    if (word == name + ":" && status >> kilobytes) return kilobytes << 10;
  }
  return 0;
}

}  // namespace linchpin::testing
