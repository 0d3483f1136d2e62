#include "lib/base/log.h"

#include <unistd.h>

namespace linchpin {

void Log(const std::string& text) {
  const std::string line = "linchpin: " + text + "\n";
  static_cast<void>(!write(STDERR_FILENO, line.data(), line.size()));
}

}  // namespace linchpin
