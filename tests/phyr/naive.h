// What a list of physical ranges means, byte by byte: the model that the tests compare with.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "linchpin/phyr.h"

namespace linchpin::testing {

struct NaiveByte {
  std::uint64_t address = 0;  // 0 for what is nowhere.
  PhyrFlags flags = PhyrFlags::kNone;

  bool operator==(const NaiveByte&) const = default;
};

inline void AppendBytes(const Phyr& entry, std::vector<NaiveByte>& bytes) {
  const std::uint64_t step = entry.Has(kPlaceless) ? 0 : 1;
  for (std::uint64_t i = 0; i < entry.length(); ++i) {
    bytes.push_back({entry.address() + i * step, entry.flags()});
  }
}

template <typename Entries>
std::vector<NaiveByte> BytesOf(const Entries& entries) {
  std::vector<NaiveByte> bytes;
  for (const Phyr& entry : entries) AppendBytes(entry, bytes);
  return bytes;
}

// A short list in which neighbours often are adjacent, and often agree in their flags.
inline PhyrList RandomList(std::mt19937_64& random, std::size_t entries_max = 12) {
  constexpr PhyrFlags kSome[] = {PhyrFlags::kNone,    PhyrFlags::kPinned, PhyrFlags::kBusAddress,
                                 PhyrFlags::kSwapped, PhyrFlags::kAbsent, PhyrFlags::kNone};
  PhyrList list;
  std::uint64_t next = random() % 4096;
  const std::size_t entries = random() % (entries_max + 1);
  for (std::size_t i = 0; i < entries; ++i) {
    const PhyrFlags flags = kSome[random() % 6];
    const std::uint64_t length = random() % 70;
    if (Any(flags & kPlaceless)) {
      list.Append(Phyr(0, length, flags));
      continue;
    }
    if (random() % 2 == 0) next = random() % 4096;
    list.Append(Phyr(next, length, flags));
    next += length;
  }
  return list;
}

}  // namespace linchpin::testing
