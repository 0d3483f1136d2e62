// Every way known to change what is mapped at an address, as real system calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace linchpin::testing {

// Memory that a change works on.
struct Arena {
  char* at = nullptr;
  std::size_t size = 0;
  int fd = -1;     // Of its file; of the userfaultfd that owns it.
  int other = -1;  // A System V segment's number.
};

enum class Effect : std::uint8_t {
  kEvent,       // The monitor hears of it: the memory is kept when idle.
  kHarmless,    // No event, but the pages stay the same: kept when idle.
  kNotKept,     // No event that can be relied on: the memory must not be kept when idle.
  kMustBeTold,  // No event, though the memory is of a kind that is kept: the application must tell.
};

struct Change {
  std::string name;
  Effect effect = Effect::kEvent;
  bool thread_safe = true;

  absl::StatusOr<Arena> (*make)(std::size_t size) = nullptr;
  // Afterwards the arena is mapped and writable again, at the same address. Unimplemented: not on
  // this kernel. Aborted: another thread was faster to map the address; the arena is lost.
  absl::Status (*happen)(Arena& arena) = nullptr;
  void (*unmake)(Arena& arena) = nullptr;
};

const std::vector<Change>& AllChanges();

}  // namespace linchpin::testing
