#include "lib/memory/smaps.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <string_view>

#include "lib/base/fd.h"
#include "lib/memory/maps_text.h"
#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

constexpr std::string_view kPageSize = "KernelPageSize:";
constexpr std::string_view kFlags = "VmFlags:";

// "         4 kB", in bytes; the ordinary size for anything else.
std::size_t ParsePageSize(std::string_view value) {
  constexpr std::size_t kKilo = 1024;
  value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
  std::size_t kilobytes = 0;
  std::from_chars(value.data(), value.data() + value.size(), kilobytes);
  return kilobytes == 0 ? BasePageSize() : kilobytes * kKilo;
}

// " rd wr mr mw me io pf ": two letters and a blank each.
bool HasFlag(std::string_view flags, std::string_view flag) {
  for (std::size_t at = flags.find(flag); at != std::string_view::npos;
       at = flags.find(flag, at + 1)) {
    const std::size_t end = at + flag.size();
    const bool begins = at == 0 || flags[at - 1] == ' ';
    if (begins && (end == flags.size() || flags[end] == ' ')) return true;
  }
  return false;
}

}  // namespace

std::optional<SmapsDetails> ReadSmaps(pid_t pid, Range mapping) {
  const Fd fd(open(ProcPath(pid, "smaps").c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  const auto text = std::make_unique<MapsText>();
  text->Rewind(fd.get());
  SmapsDetails details{.page_size = BasePageSize()};
  bool inside = false;
  for (;;) {
    const auto line = text->NextLine();
    if (!line.ok()) return std::nullopt;
    const auto next = line->has_value() ? ParseMapsLine(**line) : std::nullopt;
    const bool is_field = line->has_value() && !next.has_value();
    if (inside && !is_field) return details;  // The next mapping, or the end.
    if (!line->has_value()) return std::nullopt;
    if (next.has_value()) {
      if (next->range.start > mapping.start) return std::nullopt;
      inside = next->range == mapping;
    } else if (inside && (*line)->starts_with(kPageSize)) {
      details.page_size = ParsePageSize((*line)->substr(kPageSize.size()));
    } else if (inside && (*line)->starts_with(kFlags)) {
      const std::string_view flags = (*line)->substr(kFlags.size());
      details.without_pages = HasFlag(flags, "pf") || HasFlag(flags, "io");
    }
  }
}

}  // namespace linchpin
