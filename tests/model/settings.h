// The caches that the model is run against.
#pragma once

#include <cstdint>
#include <random>

#include "linchpin/cache.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {

// Which memory is modelled: what the monitor can watch, or what it cannot.
enum class Memory { kWatched, kUnwatched };

struct Setting {
  CacheOptions options;
  Memory memory = Memory::kWatched;
};

// Each option by itself, and from kDrawn on all of them together, as the seed has it.
inline constexpr int kDrawn = 10;
inline constexpr int kSettings = kDrawn + 4;

inline Setting DrawSetting(std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto one_in = [&random](unsigned int n) { return random() % n == 0; };
  Setting setting;
  CacheOptions& options = setting.options;
  options.max_idle_bytes = (1 + random() % 40) * kPage;
  if (one_in(4)) options.mode = Mode::kOff;
  if (one_in(2)) options.freshness = Freshness::kSynchronised;
  if (one_in(2)) options.unwatched = Unwatched::kTrust;
  if (one_in(2)) options.idle_remote = IdleRemote::kKeep;
  if (one_in(2)) options.max_held_bytes = (48 + random() % 100) * kPage;
  if (one_in(2)) options.max_regions = 4 + random() % 20;
  if (one_in(2)) options.max_union_waste = 0.1 * static_cast<double>(random() % 10);
  if (one_in(2)) setting.memory = Memory::kUnwatched;
  return setting;
}

inline Setting SettingOf(int kind, std::uint32_t seed) {
  if (kind >= kDrawn) return DrawSetting(seed + static_cast<std::uint32_t>(kind));
  Setting setting;
  CacheOptions& options = setting.options;
  options.max_idle_bytes = 24 * kPage;
  if (kind == 1) options.mode = Mode::kOff;
  if (kind == 2) options.idle_remote = IdleRemote::kKeep;
  if (kind == 3) options.max_regions = 6;
  if (kind == 4) options.max_union_waste = 0;
  if (kind == 5) options.max_idle_bytes = 1;  // Keeps nothing but bytes of remote regions.
  if (kind == 6) options.max_held_bytes = 60 * kPage;
  if (kind == 7) options.freshness = Freshness::kSynchronised;
  if (kind == 8) options.unwatched = Unwatched::kTrust;
  if (kind >= 8) setting.memory = Memory::kUnwatched;
  return setting;
}

}  // namespace linchpin::testing
