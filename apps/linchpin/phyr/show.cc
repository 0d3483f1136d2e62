#include "apps/linchpin/phyr/show.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/columns.h"
#include "apps/linchpin/quantity.h"

namespace linchpin {
namespace {

using Json = nlohmann::ordered_json;

PhyrFlags FlagOfBit(std::size_t bit) {
  return static_cast<PhyrFlags>(1U << bit);
}

std::string AddressText(const Phyr& entry) {
  if (entry.Has(kPlaceless)) return "-";
  if (!entry.Has(PhyrFlags::kUnknownAddress)) return absl::StrFormat("%#x", entry.address());
  return absl::StrCat("in a page of ", FormatSize(entry.granule()));
}

std::string PageSizeText(const Translation& translation) {
  if (translation.parts == 0) return "none: nothing is in memory";
  if (translation.page_size) return FormatSize(*translation.page_size);
  std::string text = FormatSize(translation.least);
  if (translation.most != translation.least) {
    absl::StrAppend(&text, " to ", FormatSize(translation.most));
  }
  return absl::StrCat("none; ", text, " for the ", translation.parts,
                      translation.parts == 1 ? " part" : " parts", " in memory");
}

std::string HistogramText(const Histogram& histogram) {
  Columns table({"RUNS OF", "NUMBER", "BYTES"});
  for (const auto& [size, runs] : histogram) {
    table.Add({absl::StrCat(FormatSize(std::uint64_t{1} << size), " or more"),
               absl::StrCat(runs.runs), FormatSize(runs.bytes)});
  }
  return histogram.empty() ? "" : table.ToText() + "\n";
}

Json EntryJson(const Phyr& entry, std::uint64_t start) {
  Json json = {{"start", absl::StrFormat("%#x", start)},
               {"address", nullptr},
               {"within_page_of", nullptr},
               {"bytes", entry.length()},
               {"flags", Json::array()}};
  if (entry.placed()) json["address"] = absl::StrFormat("%#x", entry.address());
  if (entry.granule() != 0) json["within_page_of"] = entry.granule();
  for (std::size_t bit = 0; bit < kPhyrFlagCount; ++bit) {
    if (entry.Has(FlagOfBit(bit))) json["flags"].push_back(ToString(FlagOfBit(bit)));
  }
  return json;
}

Json TranslationJson(const Translation& translation) {
  Json json = {{"supported", Json::array()}, {"page_size", nullptr},
               {"page_size_least", nullptr}, {"page_size_most", nullptr},
               {"parts", translation.parts}, {"entries", translation.entries}};
  for (std::uint64_t left = translation.supported; left != 0; left &= left - 1) {
    json["supported"].push_back(left & -left);
  }
  if (translation.page_size) json["page_size"] = *translation.page_size;
  if (translation.parts == 0) return json;
  json["page_size_least"] = translation.least;
  json["page_size_most"] = translation.most;
  return json;
}

}  // namespace

absl::StatusOr<PhyrView> MakeView(PhyrList list, std::uint64_t start) {
  auto summary = Summarize(list, start);
  if (!summary.ok()) return summary.status();
  return PhyrView{start, std::move(list), *std::move(summary)};
}

std::string UnknownText(const PhyrSummary& summary) {
  const std::uint64_t unknown = summary.bytes_with(PhyrFlags::kUnknownAddress);
  if (unknown == 0) return "";
  if (unknown == summary.bytes_with(PhyrFlags::kDevice)) {
    return "the addresses of a device's memory are not shown: only its driver knows them";
  }
  return "physical addresses are not shown to this process; run as root, or with CAP_SYS_ADMIN. "
         "Known all the same: what is in memory, and that each page of the mapping is in one "
         "piece; "
         "transparent huge pages are not seen";
}

std::string EntriesText(const PhyrView& view, std::size_t shown_most) {
  Columns table({"VIRTUAL", "PHYSICAL", "BYTES", "FLAGS"});
  const std::size_t shown = std::min(view.list.size(), shown_most);
  std::uint64_t at = view.start;
  for (const Phyr& entry : view.list.entries().first(shown)) {
    table.Add({absl::StrFormat("%#x", at), AddressText(entry), FormatSize(entry.length()),
               ToString(entry.flags())});
    at += entry.length();
  }
  std::string text = table.ToText();
  if (shown == view.list.size()) return text + "\n";
  return absl::StrCat(text, "  and ", view.list.size() - shown, " more of ",
                      FormatSize(view.list.length() - (at - view.start)), "; --all shows them\n\n");
}

std::string SummaryText(const PhyrView& view) {
  const PhyrSummary& summary = view.summary;
  std::string text = HistogramText(summary.histogram);
  Columns table({"A DEVICE'S PAGE SIZES", "THE BEST", "ENTRIES"});
  for (const Translation& translation : summary.translations) {
    table.Add({PageSizesText(translation.supported), PageSizeText(translation),
               absl::StrCat(translation.entries)});
  }
  absl::StrAppend(&text, table.ToText(), "\n  ", FormatSize(summary.in_memory_bytes),
                  " in memory, in ", summary.runs, summary.runs == 1 ? " run" : " runs");
  for (std::size_t bit = 0; bit < kPhyrFlagCount; ++bit) {
    if (summary.flag_bytes[bit] == 0) continue;
    absl::StrAppend(&text, "; ", FormatSize(summary.flag_bytes[bit]), " ",
                    ToString(FlagOfBit(bit)));
  }
  return text + "\n";
}

nlohmann::ordered_json ToJson(const PhyrView& view, std::size_t shown_most) {
  const PhyrSummary& summary = view.summary;
  const std::size_t shown = std::min(view.list.size(), shown_most);
  Json json = {{"start", absl::StrFormat("%#x", view.start)},
               {"bytes", view.list.length()},
               {"in_memory_bytes", summary.in_memory_bytes},
               {"runs", summary.runs},
               {"phyrs", Json::array()},
               {"phyrs_left_out", view.list.size() - shown},
               {"contiguity", Json::array()},
               {"translations", Json::array()},
               {"flag_bytes", Json::object()},
               {"unknown", nullptr}};
  std::uint64_t at = view.start;
  for (const Phyr& entry : view.list.entries().first(shown)) {
    json["phyrs"].push_back(EntryJson(entry, at));
    at += entry.length();
  }
  for (const auto& [size, runs] : summary.histogram) {
    json["contiguity"].push_back(
        {{"bytes_least", std::uint64_t{1} << size}, {"runs", runs.runs}, {"bytes", runs.bytes}});
  }
  for (const Translation& translation : summary.translations) {
    json["translations"].push_back(TranslationJson(translation));
  }
  for (std::size_t bit = 0; bit < kPhyrFlagCount; ++bit) {
    json["flag_bytes"][ToString(FlagOfBit(bit))] = summary.flag_bytes[bit];
  }
  if (const std::string unknown = UnknownText(summary); !unknown.empty()) json["unknown"] = unknown;
  return json;
}

}  // namespace linchpin
