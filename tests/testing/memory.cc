#include "tests/testing/memory.h"

#include <fstream>
#include <string>

namespace linchpin::testing {

std::optional<Range> FindMapping(std::string_view name) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(name) == std::string::npos) continue;
    std::size_t used = 0;
    const std::uintptr_t start = std::stoull(line, &used, 16);
    return Range{start, std::stoull(line.substr(used + 1), nullptr, 16)};
  }
  return std::nullopt;
}

}  // namespace linchpin::testing
