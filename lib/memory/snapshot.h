// A snapshot of what a process has mapped in a range, with what matters to whoever wants to pin it:
// what kind of memory each piece is, and where its file ends. Made to explain a refusal: it reads
// several files of /proc where the look-ups of procmap.h read one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "lib/memory/file_facts.h"
#include "lib/memory/mapping.h"

namespace linchpin {

// Memory as the rules of pinning tell it apart (pin/pin_rules.h), which is finer than who can take
// its pages away (MappingKind).
enum class PinTarget : std::uint8_t {
  kHole,         // Nothing is mapped.
  kAnonymous,    // Private, no file.
  kShmem,        // memfd, tmpfs, shared anonymous, SysV: its pages are its only home.
  kHugetlb,      // Huge pages that a file of hugetlbfs or a memfd gives.
  kFileShared,   // A file of a file system that writes its pages back.
  kFilePrivate,  // A file, copied on write.
  kFsDax,        // A file whose pages are the storage itself.
  kSecretmem,    // memfd_secret(): not even the kernel may reach it.
  kDevice,       // Addresses of a device, without struct page: a PCI BAR, [vvar].
  kSpecial,      // [vdso], a driver's buffer, and whatever else is no ordinary memory.
};
inline constexpr int kPinTargets = 10;

const char* ToString(PinTarget target);

// The part of one mapping, or of the hole between two, that lies in the range asked for.
struct MemoryPiece {
  Range range;
  Mapping mapping;  // The whole of it.
  PinTarget target = PinTarget::kHole;
  FileFacts file;  // Empty without a file.
  // The first address behind the end of the mapping's file, where no page can ever be; nothing when
  // that is outside of the mapping, or the size is not known.
  std::optional<std::uintptr_t> end_of_file;

  // "shared file rw- /data/x"; "hole".
  std::string ToString() const;
};

// Returns: the pieces of `range` in process `pid` (0: this one), in ascending order and without a
// gap; otherwise why its maps cannot be read. Requires: a range that is not empty.
absl::StatusOr<std::vector<MemoryPiece>> SnapshotMemory(pid_t pid, Range range);

}  // namespace linchpin
