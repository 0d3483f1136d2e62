#include "tests/edu/engine_segments.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace linchpin::testing {
namespace {

// The part of `segment` from its beginning on that is translated in one piece.
absl::StatusOr<BusRange> TranslateFirst(std::span<const DmaTranslation> translations,
                                        const Phyr& segment) {
  for (const DmaTranslation& each : translations) {
    if (segment.address() < each.iova) continue;
    const std::uint64_t offset = segment.address() - each.iova;
    if (offset >= each.memory.length()) continue;
    return BusRange{each.memory.address() + offset,
                    std::min(segment.length(), each.memory.length() - offset)};
  }
  return absl::NotFoundError(absl::StrCat(segment.ToString(), " is not translated"));
}

}  // namespace

absl::StatusOr<std::vector<BusRange>> EngineSegments(const DmaMapping& mapping) {
  std::vector<BusRange> ranges;
  for (Phyr segment : mapping.segments()) {
    if (mapping.translations().empty() || segment.Has(PhyrFlags::kBusAddress)) {
      ranges.push_back({segment.address(), segment.length()});
      continue;
    }
    while (segment.length() > 0) {
      const auto range = TranslateFirst(mapping.translations(), segment);
      if (!range.ok()) return range.status();
      ranges.push_back(*range);
      segment = segment.Part(range->bytes, segment.length() - range->bytes);
    }
  }
  return ranges;
}

absl::Status CheckLimitsKept(const DmaMapping& mapping, const DmaLimits& limits) {
  for (const Phyr& segment : mapping.segments()) {
    const char* broken = nullptr;
    if (segment.length() == 0) broken = "is empty";
    if (segment.last() > limits.mask) broken = "is beyond the mask";
    if (limits.max_segment != 0 && segment.length() > limits.max_segment) broken = "is too long";
    if (limits.boundary != 0 &&
        segment.address() / limits.boundary != segment.last() / limits.boundary) {
      broken = "crosses a boundary";
    }
    if (broken != nullptr) {
      return absl::InternalError(absl::StrCat(segment.ToString(), " ", broken));
    }
  }
  return absl::OkStatus();
}

}  // namespace linchpin::testing
