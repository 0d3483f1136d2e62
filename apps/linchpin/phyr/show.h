// How `linchpin phyr` shows physical ranges, and the summary of them, in words and as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "apps/linchpin/phyr/summary.h"
#include "nlohmann/json.hpp"

namespace linchpin {

// What is shown: the list, which is of the memory from the virtual address `start` on.
struct PhyrView {
  std::uint64_t start = 0;
  PhyrList list;
  PhyrSummary summary;
};

// Returns: what there is to say of the memory from `start` on; as Summarize on error.
absl::StatusOr<PhyrView> MakeView(PhyrList list, std::uint64_t start);

// Unless all are asked for; and of each kind of memory of the self-test.
inline constexpr std::size_t kEntriesShown = 16;
inline constexpr std::size_t kEntriesShownOfEach = 4;

// What to do where addresses are unknown. Empty where none are.
std::string UnknownText(const PhyrSummary& summary);

// The first `shown_most` entries of the list, and how many more there are.
std::string EntriesText(const PhyrView& view, std::size_t shown_most);
// Contiguity, translation, and the bytes with each flag.
std::string SummaryText(const PhyrView& view);

// Both, as fields of an object.
nlohmann::ordered_json ToJson(const PhyrView& view, std::size_t shown_most);

}  // namespace linchpin
