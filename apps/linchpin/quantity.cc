// Digits are read by hand: strtoull takes "-1", " 1" and "0x1", none of which anybody means.
#include "apps/linchpin/quantity.h"

#include <cctype>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace linchpin {
namespace {

constexpr std::uint64_t kSizeMost = std::numeric_limits<std::int64_t>::max();
constexpr const char* kUnits = "KMGT";

// How far left a size with this suffix is shifted; 0 when it is no suffix.
unsigned ShiftOf(char suffix) {
  const char upper = static_cast<char>(std::toupper(static_cast<unsigned char>(suffix)));
  for (unsigned i = 0; kUnits[i] != '\0'; ++i) {
    if (kUnits[i] == upper) return 10 * (i + 1);
  }
  return 0;
}

absl::Status NotASize(const std::string& option, const std::string& text) {
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: \"%s\" is not a size; give a number from 1, with K, M, G or T behind it or not", option,
      text));
}

}  // namespace

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  constexpr int kHex = 16;
  constexpr int kDecimal = 10;
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  if (hex) text.remove_prefix(2);
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number, hex ? kHex : kDecimal);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return number;
}

absl::StatusOr<std::uint64_t> ParseCount(const std::string& option, const std::string& text,
                                         CountLimits limits) {
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  const bool is_number = error == std::errc() && stopped == end;
  if (is_number && number >= limits.least && number <= limits.most) return number;
  return absl::InvalidArgumentError(absl::StrFormat("%s: \"%s\" is not a number from %d to %d",
                                                    option, text, limits.least, limits.most));
}

absl::StatusOr<std::uint64_t> ParseSize(const std::string& option, const std::string& text) {
  std::string digits = text;
  const unsigned shift = digits.empty() ? 0 : ShiftOf(digits.back());
  if (shift != 0) digits.pop_back();
  std::uint64_t number = 0;
  const char* end = digits.data() + digits.size();
  const auto [stopped, error] = std::from_chars(digits.data(), end, number);
  if (error == std::errc::result_out_of_range || number > kSizeMost >> shift) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: \"%s\" is more than an address space holds", option, text));
  }
  if (error != std::errc() || stopped != end || number == 0) return NotASize(option, text);
  return number << shift;
}

std::string FormatSize(std::uint64_t bytes) {
  unsigned unit = 0;
  while (unit < 4 && bytes >= 1024 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  if (unit == 0) return absl::StrCat(bytes, " B");
  return absl::StrFormat("%d %ciB", bytes, kUnits[unit - 1]);
}

}  // namespace linchpin
