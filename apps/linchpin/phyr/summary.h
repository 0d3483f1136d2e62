// What is said of the physical ranges behind memory: how contiguous they are, what a device would
// need to translate them, and what kind of memory they are.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

#include "linchpin/phyr.h"

namespace linchpin {

// Physically contiguous runs of 2^N bytes or more, but less than 2^(N+1).
struct SizeClass {
  std::uint64_t runs = 0;
  std::uint64_t bytes = 0;
};
using Histogram = std::map<int, SizeClass>;  // By N; without empty classes.

// How a device with some page sizes would translate the memory at IO addresses that are its virtual
// ones. What is not in memory splits it into parts, each a registration of its own.
struct Translation {
  std::uint64_t supported = 0;             // A bit for each page size.
  std::uint64_t parts = 0;                 // 0: nothing is in memory.
  std::optional<std::uint64_t> page_size;  // Of the whole; nothing unless there is one part.
  std::uint64_t least = 0, most = 0;       // The page sizes of the parts.
  std::uint64_t entries = 0;               // Of all parts.
};

// What the tool asks for: devices that know pages of 4 KiB alone, those of transparent huge pages
// too, and those of the largest hugetlb pages.
inline constexpr std::uint64_t kSmallPage = 4 << 10;
inline constexpr std::uint64_t kMiddlePage = 2 << 20;
inline constexpr std::uint64_t kLargePage = 1 << 30;
inline constexpr std::array<std::uint64_t, 3> kDevicePageSizes{
    kSmallPage, kSmallPage | kMiddlePage, kSmallPage | kMiddlePage | kLargePage};

inline constexpr int kPhyrFlagCount = 12;
static_assert(kPhyrFlagCount == Phyr::kFlagBits);

struct PhyrSummary {
  std::uint64_t runs = 0;  // Physically contiguous, whatever their flags.
  Histogram histogram;     // Of what is in memory.
  std::array<Translation, kDevicePageSizes.size()> translations;
  std::array<std::uint64_t, kPhyrFlagCount> flag_bytes{};  // By bit of PhyrFlags.
  std::uint64_t in_memory_bytes = 0;

  std::uint64_t bytes_with(PhyrFlags flag) const;  // Requires: one flag.
};

// `list` is of the memory from the virtual address `start` on.
// Returns: what BestPageSize says, when memory has a page smaller than any device's.
absl::StatusOr<PhyrSummary> Summarize(const PhyrList& list, std::uint64_t start);

// The runs of `list` that are in memory, whatever else differs between neighbours.
PhyrList Runs(const PhyrList& list);

// "4 KiB, 2 MiB", for a bit for each page size.
std::string PageSizesText(std::uint64_t supported);

}  // namespace linchpin
