// What most programs write for themselves: a std::map by start address under a std::mutex. It
// watches nothing, bounds nothing, and merges nothing, so it does less than a cache has to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string_view>

#include "bench/contenders/noop_registrar.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {

class MapContender final {
  struct Region {
    std::uintptr_t end = 0;
    std::uint32_t key = 0;
    std::uint32_t claims = 0;
    bool dead = false;
  };
  using Map = std::map<std::uintptr_t, Region>;

 public:
  static constexpr std::string_view kName = "std::map+mutex";
  static constexpr std::string_view kAbsent = {};
  using Claim = Map::value_type*;

  void Hit(const Request& request) { Release(Acquire(request)); }

  Claim Acquire(const Request& request) {
    const auto start = reinterpret_cast<std::uintptr_t>(request.address);
    const std::scoped_lock lock(mutex_);
    auto found = live_.upper_bound(start);
    if (found != live_.begin()) {
      --found;
      if (start + request.length <= found->second.end) {
        ++found->second.claims;
        return &*found;
      }
    }
    return Register(start, request.length);
  }

  void Release(Claim claim) {
    const std::scoped_lock lock(mutex_);
    if (--claim->second.claims == 0 && claim->second.dead) Destroy(claim);
  }

  void Invalidate(Claim claim) {
    const std::scoped_lock lock(mutex_);
    claim->second.dead = true;
    dead_.insert(live_.extract(claim->first));  // The claim still points to it.
  }

  void Finish(Range) {}  // The last release deregisters.

  NoopDevice& device() { return device_; }

 private:
  Claim Register(std::uintptr_t start, std::size_t length);  // Requires: mutex_ is held.
  void Destroy(Claim claim);                                 // The same.

  std::mutex mutex_;  // Guards the maps and all regions.
  Map live_;
  std::multimap<std::uintptr_t, Region> dead_;  // Invalidated, and still claimed.
  NoopDevice device_;
};

}  // namespace linchpin::bench
