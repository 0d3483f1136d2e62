#include "linchpin/range.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace linchpin {

std::string Range::ToString() const {
  return absl::StrFormat("[0x%x, 0x%x) %d bytes", start, end, size());
}

absl::StatusOr<Range> Range::Of(const void* address, std::size_t length) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  if (address == nullptr) {
    return absl::InvalidArgumentError("the address is null; pass the address of mapped memory");
  }
  if (length == 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("the length at 0x%x is 0; ask for at least 1 byte", start));
  }
  if (start + length < start) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%d bytes at 0x%x wrap around the end of the address space; pass the length "
        "in bytes of one mapped buffer",
        length, start));
  }
  return Range{start, start + length};
}

}  // namespace linchpin
