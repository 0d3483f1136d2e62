#include "apps/linchpin/columns.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"

namespace linchpin {

std::string Columns::ToText() const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - row[i].size(), ' ');
      const bool last = i + 1 == row.size();
      absl::StrAppend(&text, "  ", row[i], last ? "" : space);
    }
    text += '\n';
  }
  return text;
}

}  // namespace linchpin
