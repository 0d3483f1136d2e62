// What is mapped at an address: by the PROCMAP_QUERY ioctl (Linux 6.11, 0.4 us), else by reading
// the text of /proc/self/maps (25 us and more).
//
// Thread-safety: all calls may be made at once from any threads. Each answer was true at one moment
// of the call; what other threads map and unmap meanwhile may have made it old already.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "lib/memory/mapping.h"

namespace linchpin {

class MappingReader final {
 public:
  enum class Source : std::uint8_t { kBest, kText };

  // Of process `pid`; 0 is the process that calls.
  explicit MappingReader(Source source, pid_t pid = 0) : source_(source), pid_(pid) {}
  MappingReader(const MappingReader&) = delete;
  MappingReader& operator=(const MappingReader&) = delete;
  ~MappingReader();

  // The mapping that contains `address`, or the hole it is in.
  // Returns: Unavailable, PermissionDenied (of another process), Internal or ResourceExhausted when
  // the maps in /proc cannot be opened or read.
  absl::StatusOr<Mapping> LookUp(std::uintptr_t address);

  // All that `range` touches, in ascending order, holes as kHole: the first contains range.start,
  // the last ends at or behind range.end. Mappings are whole; a hole ends where the next mapping
  // begins. Requires: a range that is not empty.
  absl::StatusOr<std::vector<Mapping>> LookUpAll(Range range);

 private:
  struct Open;  // The descriptor, which is of one process.

  absl::StatusOr<Open*> Current();
  absl::StatusOr<Open*> Reopen(Open* old);
  static absl::StatusOr<std::vector<Mapping>> Query(const Open& open, Range range);
  absl::StatusOr<std::vector<Mapping>> ReadText(Open& open, Range range) const;

  const Source source_;
  const pid_t pid_;
  // The newest; those it replaced (a forked child's parent's, or closed behind our back) hang on
  // it, because another thread may be using them. Replaced only, never null again.
  std::atomic<Open*> open_{nullptr};
};

// The same with the process's own reader.
absl::StatusOr<Mapping> LookUpMapping(std::uintptr_t address);
absl::StatusOr<std::vector<Mapping>> LookUpMappings(Range range);

// "/proc/self/`file`", or that of another process; 0 is the process that calls.
std::string ProcPath(pid_t pid, std::string_view file);

}  // namespace linchpin
