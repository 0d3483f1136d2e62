// Room: what is kept idle is bounded, and given up when the kernel or a limit asks for it.
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/check.h"
#include "lib/cache/cache_core.h"
#include "lib/memory/limits.h"

namespace linchpin::internal {

// The clock: an idle region that was hit since the hand last passed gets a second chance. The hand
// goes round twice at most, because the first round takes every chance away. Requires: leases are
// counted exactly, or nothing is idle.
std::uint64_t CacheCore::EvictOneLocked() {
  if (stats_.idle_bytes == 0) return 0;
  for (std::size_t steps = 2 * clock_.size(); steps > 0; --steps) {
    Region& region = clock_.front();
    const bool idle = region.account == Account::kIdle;
    if (idle && !region.used) {
      LINCHPIN_CHECK(exact_);
      const std::uint64_t bytes = region.range.size();
      ++stats_.evictions;
      RetireLocked(region);
      return bytes;
    }
    if (idle) region.used = false;
    clock_.splice(clock_.end(), clock_, clock_.begin());
  }
  return 0;
}

void CacheCore::EvictToLocked(std::uint64_t idle_bytes) {
  while (stats_.idle_bytes > idle_bytes && EvictOneLocked() != 0) continue;
}

std::uint64_t CacheCore::reaped() const {
  const NoAllocationLock lock(mutex_);
  return ReapedLocked();
}

// Gives up as many idle regions as make `bytes`. The dead count towards them if `count_dead` says
// so, for the first try: their room is coming back anyway, unless others take it.
// Returns: false when there was nothing to give up, and nobody else made room since
// `reaped_before` either.
bool CacheCore::MakeRoom(std::uint64_t bytes, std::uint64_t reaped_before, bool count_dead) {
  FlushLimbo();
  {
    const Exactly exactly(*this);
    const NoAllocationLock lock(mutex_);
    std::uint64_t coming = count_dead ? stats_.deferred_bytes : 0;
    while (coming < bytes) {
      const std::uint64_t one = EvictOneLocked();
      if (one == 0) break;
      coming += one;
    }
    const bool dead = !graves_.empty() || !reaping_.empty();
    const bool others = ReapedLocked() != reaped_before;
    if (coming == 0 && !dead && !others) return false;
  }
  ReapAll(Clock::time_point::max());
  return true;
}

absl::Status CacheCore::NoRoom(const Range& range, const std::string& reason) {
  const MemoryLimits memory = ReadMemoryLimits();
  const std::string memlock = memory.memlock_exempt
                                  ? "exempt from RLIMIT_MEMLOCK"
                                  : absl::StrCat("RLIMIT_MEMLOCK ", memory.memlock_bytes, " bytes");
  return NoRoomExplained(
      range, absl::StrCat(reason, "; ", memlock, ", pinned now ", memory.pinned_bytes, " bytes"));
}

// `reason` says which limit is reached, and its numbers.
absl::Status CacheCore::NoRoomExplained(const Range& range, const std::string& reason) {
  return absl::ResourceExhaustedError(absl::StrCat("no room to register ", range.ToString(), ": ",
                                                   reason, "; every idle region was given up; ",
                                                   Holders()));
}

std::string CacheCore::Holders() {
  struct Holder {
    Range range;
    std::uint64_t leases = 0;
  };
  std::array<Holder, 3> largest{};  // In falling order of size.
  CacheStats now;
  {
    const NoAllocationLock lock(mutex_);
    now = stats_;
    CountFastLocked(now);
    index_.ForEach([&](const Region& region) {
      mutex_.AssertHeld();
      if (region.account == Account::kFlying) return;
      Holder holder{region.range, LeasesOnLocked(region)};
      for (Holder& place : largest) {
        if (holder.leases > 0 && holder.range.size() > place.range.size()) std::swap(holder, place);
      }
    });
  }
  std::string text = absl::StrCat(now.leases, " leases hold ", now.held_bytes, " bytes");
  for (const Holder& holder : largest) {
    if (holder.leases == 0) continue;
    absl::StrAppend(&text, ", ", holder.range.ToString(), " by ", holder.leases);
  }
  return text;
}

}  // namespace linchpin::internal
