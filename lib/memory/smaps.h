// What only /proc/PID/smaps says of a mapping. It is slow: to make the text, the kernel walks the
// page tables of every mapping up to the one asked for.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>

#include "linchpin/range.h"

namespace linchpin {

struct SmapsDetails {
  std::size_t page_size = 4096;  // KernelPageSize, in bytes.
  bool without_pages = false;    // VmFlags "pf" or "io": addresses of a device, no struct page.
};

// Returns: the details of the mapping that is exactly `mapping`, in process `pid` (0: this one);
// nothing when there is none (any more), or smaps cannot be read.
std::optional<SmapsDetails> ReadSmaps(pid_t pid, Range mapping);

}  // namespace linchpin
