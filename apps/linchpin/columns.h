// Columns: a table of text.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace linchpin {

// As wide as what is in them; flush left, after two spaces.
class Columns final {
 public:
  explicit Columns(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }

  // Requires: as many cells as there are heads.
  void Add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  std::string ToText() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace linchpin
