// The better map that a careful program writes for itself: absl::btree_map under a shared mutex,
// counting claims by atomics. It watches nothing, bounds nothing, and merges nothing either.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <mutex>
#include <shared_mutex>
#include <string_view>

#include "absl/container/btree_map.h"

#include "bench/contenders/noop_registrar.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {

class BtreeContender final {
  struct Region {
    Range range;
    std::uint32_t key = 0;
    std::atomic<std::uint32_t> claims = 1;  // One of them is the tree's.
  };

 public:
  static constexpr std::string_view kName = "absl::btree_map+shared_mutex";
  static constexpr std::string_view kAbsent = {};
  using Claim = Region*;

  BtreeContender() = default;
  ~BtreeContender();
  BtreeContender(const BtreeContender&) = delete;
  BtreeContender& operator=(const BtreeContender&) = delete;

  void Hit(const Request& request) { Release(Acquire(request)); }

  Claim Acquire(const Request& request) {
    const auto start = reinterpret_cast<std::uintptr_t>(request.address);
    {
      const std::shared_lock lock(mutex_);
      const auto next = live_.upper_bound(start);
      if (next != live_.begin()) {
        const Claim found = std::prev(next)->second;
        if (start + request.length <= found->range.end) {
          found->claims.fetch_add(1, std::memory_order_relaxed);
          return found;
        }
      }
    }
    return Register({start, start + request.length});
  }

  void Release(Claim claim) {
    if (claim->claims.fetch_sub(1, std::memory_order_acq_rel) == 1) Destroy(claim);
  }

  void Invalidate(Claim claim) {
    {
      const std::scoped_lock lock(mutex_);
      live_.erase(claim->range.start);
    }
    Release(claim);
  }

  void Finish(Range) {}  // The last release deregisters.

  NoopDevice& device() { return device_; }

 private:
  Claim Register(Range range);
  void Destroy(Claim claim);

  std::shared_mutex mutex_;  // Guards live_.
  absl::btree_map<std::uintptr_t, Region*> live_;
  NoopDevice device_;
};

}  // namespace linchpin::bench
