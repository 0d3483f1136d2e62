#include "apps/linchpin/printable.h"

#include <cstdint>

#include "absl/strings/str_format.h"

namespace linchpin {
namespace {

// The character that `text` begins with, and its bytes; 0 bytes when it is not UTF-8.
struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;
};

Character First(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xf8 ? 0 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || bytes == 0 || bytes > text.size()) return {};
  std::uint32_t code = lead & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x1'0000};  // Longer than needed is none.
  const bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
  if (code < kLeast[bytes] || code > 0x10'ffff || is_surrogate) return {};
  return {code, bytes};
}

bool IsControl(std::uint32_t code) {
  const bool turns = (code >= 0x200e && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                     (code >= 0x2066 && code <= 0x2069) || code == 0x061c;
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || turns;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable;
  while (!text.empty()) {
    const Character character = First(text);
    if (character.bytes != 0 && !IsControl(character.code)) {
      printable += text.substr(0, character.bytes);
      text.remove_prefix(character.bytes);
      continue;
    }
    const std::size_t bytes = character.bytes == 0 ? 1 : character.bytes;
    for (const char c : text.substr(0, bytes)) {
      printable += absl::StrFormat("\\x%02x", static_cast<unsigned char>(c));
    }
    text.remove_prefix(bytes);
  }
  return printable;
}

}  // namespace linchpin
