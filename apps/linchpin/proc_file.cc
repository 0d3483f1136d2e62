// The files are small and made on reading, so each value is read afresh.
#include "apps/linchpin/proc_file.h"

#include <charconv>
#include <cstdint>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>

namespace linchpin {
namespace {

template <typename Number>
std::optional<Number> LeadingNumber(const std::string& text) {
  Number number = 0;
  const auto [stopped, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::string Trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace

std::optional<std::string> ReadLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

std::optional<std::int64_t> ReadNumber(const std::string& path) {
  const std::optional<std::string> line = ReadLine(path);
  return line ? LeadingNumber<std::int64_t>(*line) : std::nullopt;
}

std::optional<std::string> ReadField(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  const std::string prefix = name + ":";
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(prefix)) return Trimmed(line.substr(prefix.size()));
  }
  return std::nullopt;
}

std::optional<std::uint64_t> ReadFieldBytes(const std::string& path, const std::string& name) {
  const std::optional<std::string> field = ReadField(path, name);
  const auto kib = field ? LeadingNumber<std::uint64_t>(*field) : std::nullopt;
  return kib ? std::optional<std::uint64_t>(*kib * 1024) : std::nullopt;
}

}  // namespace linchpin
