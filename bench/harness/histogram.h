// Times by how often they occur, in space that does not grow: a thread that notes millions of them
// must not allocate, or it measures that.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace linchpin::bench {

// Counts values in ns in buckets of which each is at most 1/32 wider than its values; the largest
// value is kept as it is.
class Histogram final {
 public:
  void Add(std::uint64_t ns) {
    ++counts_[BucketOf(ns)];
    ++total_;
    largest_ = std::max(largest_, ns);
  }

  std::uint64_t total() const { return total_; }
  std::uint64_t largest() const { return largest_; }

  // Returns: the lower edge of the bucket that holds the value which `fraction` of all do not
  // exceed (the nearest rank below). Requires: total() > 0.
  std::uint64_t Percentile(double fraction) const {
    const auto rank = static_cast<std::uint64_t>(fraction * static_cast<double>(total_ - 1));
    std::uint64_t before = 0;
    for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
      before += counts_[bucket];
      if (before > rank) return LowerEdge(bucket);
    }
    return largest_;
  }

 private:
  static constexpr std::size_t kSteps = 32;  // Buckets of each power of two.
  static constexpr int kStepBits = 5;

  static std::size_t BucketOf(std::uint64_t ns) {
    if (ns < kSteps) return static_cast<std::size_t>(ns);  // One bucket each.
    const int shift = static_cast<int>(std::bit_width(ns)) - 1 - kStepBits;
    return static_cast<std::size_t>(shift) * kSteps + static_cast<std::size_t>(ns >> shift);
  }
  static std::uint64_t LowerEdge(std::size_t bucket) {
    if (bucket < 2 * kSteps) return bucket;
    const std::size_t shift = bucket / kSteps - 1;
    return static_cast<std::uint64_t>(bucket % kSteps + kSteps) << shift;
  }

  std::array<std::uint64_t, (64 - kStepBits + 1) * kSteps> counts_{};
  std::uint64_t total_ = 0;
  std::uint64_t largest_ = 0;
};

}  // namespace linchpin::bench
