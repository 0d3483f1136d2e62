// FileFacts: what can be found out of the file behind a mapping without opening it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/memory/mapping.h"

struct statfs;

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

// Returns: the type of a file system, as FileFacts has it, for those that rules here speak of.
std::string FileSystemName(const struct statfs& status);

// Whether the files of such a file system are memory and nothing else.
bool IsMemoryOnly(std::string_view file_system);

}  // namespace linchpin
