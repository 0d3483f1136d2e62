#include "lib/memory/maps_text.h"

#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

#include "lib/base/error.h"

namespace linchpin {
namespace {

// Takes a number, and then the character `after`, from the front of `text`.
template <typename Number>
bool Take(std::string_view& text, int base, char after, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, base);
  const auto used = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || used >= text.size() || *end != after) return false;
  text.remove_prefix(used + 1);
  return true;
}

// The kernel writes a newline in a path as "\012" and escapes nothing else.
std::string Unescape(std::string_view text) {
  constexpr std::string_view kNewline = "\\012";
  std::string name;
  for (std::size_t at = text.find(kNewline); at != std::string_view::npos;
       at = text.find(kNewline)) {
    name.append(text.substr(0, at)).push_back('\n');
    text.remove_prefix(at + kNewline.size());
  }
  return name.append(text);
}

}  // namespace

std::optional<Mapping> ParseMapsLine(std::string_view line) {
  constexpr int kHex = 16;
  constexpr std::size_t kFlags = 4;  // "rwxp"
  Mapping mapping;
  if (!Take(line, kHex, '-', &mapping.range.start)) return std::nullopt;
  if (!Take(line, kHex, ' ', &mapping.range.end)) return std::nullopt;
  if (line.size() <= kFlags || line[kFlags] != ' ') return std::nullopt;
  if (line[0] == 'r') mapping.protection |= PROT_READ;
  if (line[1] == 'w') mapping.protection |= PROT_WRITE;
  if (line[2] == 'x') mapping.protection |= PROT_EXEC;
  mapping.shared = line[3] == 's';
  line.remove_prefix(kFlags + 1);
  unsigned int major = 0;
  unsigned int minor = 0;
  if (!Take(line, kHex, ' ', &mapping.offset)) return std::nullopt;
  if (!Take(line, kHex, ':', &major) || !Take(line, kHex, ' ', &minor)) return std::nullopt;
  mapping.device = makedev(major, minor);
  // Older kernels end the line of a nameless mapping with the inode and a blank, newer without.
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), mapping.inode);
  if (error != std::errc()) return std::nullopt;
  line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  mapping.name = Unescape(line);
  mapping.page_size = BasePageSize();
  mapping.kind = Classify(mapping);
  return mapping;
}

void MapsText::Rewind(int fd) {
  fd_ = fd;
  begin_ = end_ = 0;
  offset_ = 0;
  at_end_ = false;
}

absl::Status MapsText::Fill() {
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  const ssize_t got = pread(fd_, buffer_.data() + end_, buffer_.size() - end_, offset_);
  if (got < 0 && errno == EINTR) return absl::OkStatus();
  if (got < 0) return ErrnoToStatus(errno, "reading /proc/self/maps", "mount /proc");
  at_end_ = got == 0;
  end_ += static_cast<std::size_t>(got);
  offset_ += got;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<std::string_view>> MapsText::NextLine() {
  for (;;) {
    const std::string_view unread(buffer_.data() + begin_, end_ - begin_);
    if (const std::size_t at = unread.find('\n'); at != std::string_view::npos) {
      begin_ += at + 1;
      return unread.substr(0, at);
    }
    if (at_end_) return std::nullopt;
    if (unread.size() == buffer_.size()) begin_ = end_;  // Cut.
    if (absl::Status status = Fill(); !status.ok()) return status;
  }
}

}  // namespace linchpin
