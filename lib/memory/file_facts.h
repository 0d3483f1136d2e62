// FileFacts: what can be found out of the file behind a mapping without opening it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "lib/memory/mapping.h"

namespace linchpin {

struct FileFacts {
  std::string file_system;             // Its type: "ext4", "tmpfs". Empty when it is not known.
  std::optional<std::uint64_t> bytes;  // Its size; nothing when it could not be found.
  bool dax = false;                    // Its pages are storage itself: no page cache between.
};

// Looks for the file of `mapping`, which is one of process `pid` (0: this one), by its name, in
// map_files, and among the process's descriptors, in this order; the mount table says the rest.
// Requires: `mapping` is one of a file. Some 20 us, and 1 us for each descriptor if it comes to
// that.
FileFacts ReadFileFacts(pid_t pid, const Mapping& mapping);

}  // namespace linchpin
