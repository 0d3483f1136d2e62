#include "apps/linchpin/phyr/summary.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "absl/strings/str_cat.h"

#include "apps/linchpin/quantity.h"

namespace linchpin {
namespace {

// The part of a list between two gaps, and the virtual address where it begins.
struct Part {
  std::uint64_t start = 0;
  PhyrList list;
};

std::vector<Part> PartsInMemory(const PhyrList& list, std::uint64_t start) {
  std::vector<Part> parts;
  bool gap = true;
  for (const Phyr& entry : list) {
    const bool nowhere = entry.Has(kPlaceless);
    if (!nowhere && gap) parts.push_back({start, {}});
    if (!nowhere) parts.back().list.Append(entry);
    gap = nowhere;
    start += entry.length();
  }
  return parts;
}

absl::StatusOr<Translation> Translate(const std::vector<Part>& parts, bool whole,
                                      std::uint64_t supported) {
  Translation translation;
  translation.supported = supported;
  translation.parts = parts.size();
  for (const Part& part : parts) {
    const auto choice = BestPageSize(part.list, part.start, supported);
    if (!choice.ok()) return choice.status();
    const bool first = translation.most == 0;
    translation.least = first ? choice->page_size : std::min(translation.least, choice->page_size);
    translation.most = std::max(translation.most, choice->page_size);
    translation.entries += choice->entries;
  }
  if (whole && translation.most != 0) translation.page_size = translation.most;
  return translation;
}

}  // namespace

std::uint64_t PhyrSummary::bytes_with(PhyrFlags flag) const {
  return flag_bytes[static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(flag)))];
}

PhyrList Runs(const PhyrList& list) {
  const PhyrFlags of_address = PhyrFlags::kUnknownAddress | kPlaceless;
  PhyrList runs;
  for (const Phyr& entry : list.Without(~of_address)) {
    if (!entry.Has(kPlaceless)) runs.Append(entry);
  }
  return runs;
}

absl::StatusOr<PhyrSummary> Summarize(const PhyrList& list, std::uint64_t start) {
  PhyrSummary summary;
  const PhyrList runs = Runs(list);
  summary.runs = runs.size();
  summary.in_memory_bytes = runs.length();
  for (const Phyr& run : runs) {
    SizeClass& of_size = summary.histogram[63 - std::countl_zero(run.length())];
    ++of_size.runs;
    of_size.bytes += run.length();
  }
  for (const Phyr& entry : list) {
    for (std::size_t bit = 0; bit < kPhyrFlagCount; ++bit) {
      if (entry.Has(static_cast<PhyrFlags>(1U << bit))) summary.flag_bytes[bit] += entry.length();
    }
  }
  const std::vector<Part> parts = PartsInMemory(list, start);
  const bool whole = parts.size() == 1 && runs.length() == list.length();
  for (std::size_t i = 0; i < kDevicePageSizes.size(); ++i) {
    const auto translation = Translate(parts, whole, kDevicePageSizes[i]);
    if (!translation.ok()) return translation.status();
    summary.translations[i] = *translation;
  }
  return summary;
}

std::string PageSizesText(std::uint64_t supported) {
  std::string text;
  for (; supported != 0; supported &= supported - 1) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", FormatSize(supported & -supported));
  }
  return text;
}

}  // namespace linchpin
