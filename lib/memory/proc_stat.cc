#include "lib/memory/proc_stat.h"

#include <cstddef>

namespace linchpin {

std::string_view StatField(std::string_view stat, int number) {
  const std::size_t command_end = stat.rfind(')');
  if (command_end == std::string_view::npos) return {};
  stat.remove_prefix(command_end + 1);
  for (int field = 2; field < number; ++field) {
    const std::size_t space = stat.find(' ');
    if (space == std::string_view::npos) return {};
    stat.remove_prefix(space + 1);
  }
  return stat.substr(0, stat.find_first_of(" \n"));
}

}  // namespace linchpin
