// MapsText: reads mappings from the text of /proc/self/maps, for kernels without PROCMAP_QUERY.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/status/statusor.h"

#include "lib/memory/mapping.h"

namespace linchpin {

// Returns: the mapping in a line of maps, without its newline; its page size is the ordinary one,
// its kind not decided. Nothing when the line is none.
std::optional<Mapping> ParseMapsLine(std::string_view line);

// Lines of a file of /proc, read from its beginning with pread. The kernel goes on from the last
// address as long as nobody else reads through the same open file, so one reader at a time: a line
// is true for the moment it was read, lines of different moments are in ascending order.
class MapsText final {
 public:
  // Starts at the beginning of `fd`.
  void Rewind(int fd);

  // Returns: the next line, valid to the next call; nothing at the end of the file. A line longer
  // than any that the kernel writes is cut. Unavailable when the file cannot be read.
  absl::StatusOr<std::optional<std::string_view>> NextLine();

 private:
  absl::Status Fill();

  // A path has at most 4,096 bytes, each of which may be escaped by 4.
  static constexpr std::size_t kBufferBytes = std::size_t{20} * 1024;
  std::array<char, kBufferBytes> buffer_{};
  // Invariant: begin_ <= end_ <= kBufferBytes; [begin_, end_) is read and not yet handed out.
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::int64_t offset_ = 0;
  int fd_ = -1;
  bool at_end_ = false;
};

}  // namespace linchpin
