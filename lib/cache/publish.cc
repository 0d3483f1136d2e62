// What the cache shows of itself in the process's ledger: each registration, as soon as it is made;
// its counters and how many leases there are, only while somebody looks.
#include <algorithm>
#include <array>
#include <string>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {
namespace {

// How often the reaper looks whether anyone wants fresh counters, and publishes while they do.
constexpr std::chrono::milliseconds kLookTime(1000);
constexpr std::chrono::milliseconds kWatchedTime(100);
// For so long after a reader was last heard of.
constexpr std::chrono::seconds kWatchedFor(3);

// The monitor's reader waits for no more regions than these.
constexpr RegionId kIdsAtOnce = 64;

}  // namespace

// With no lock held: the ledger may have to look up the path of a file.
void CacheCore::List(const Request& request, Attempts& attempts, const Region& region) {
  LedgerPin pin;
  pin.range = region.range;
  pin.kind = Any(region.access & Access::kOnDemand) ? PinKind::kOnDemand : PinKind::kLongterm;
  pin.rights = region.access;
  pin.device = device_;
  pin.file_device = attempts.device;
  pin.file_inode = attempts.inode;
  if (request.file != nullptr) {
    pin.owner = request.file->id();
    pin.owner_name = request.file->name();
  }
  attempts.listed = ledger_.Add(pin);
}

// When the reaper, with nothing else to do, looks at the ledger next.
Clock::time_point CacheCore::NextLookLocked(Clock::time_point now) const {
  if (counters_ == 0) return Clock::time_point::max();
  return std::max(now, looked_ + (now < watched_until_ ? kWatchedTime : kLookTime));
}

// For the reaper: publishes what somebody wants.
void CacheCore::LookAtLedger() {
  const Clock::time_point now = Clock::now();
  const bool wanted = ledger_.Wanted(counters_);
  bool watched = false;
  {
    const NoAllocationLock lock(mutex_);
    looked_ = now;
    if (wanted) watched_until_ = now + kWatchedFor;
    watched = now < watched_until_;
  }
  if (!watched) return;
  PublishLeases();
  ledger_.Publish(counters_, stats());
}

void CacheCore::PublishLeases() {
  struct Entry {
    LedgerEntry entry;
    std::uint32_t leases;
  };
  const RegionId end = hits_.slab().end();
  for (RegionId first = 1; first < end; first += kIdsAtOnce) {
    std::array<Entry, kIdsAtOnce> entries{};
    std::size_t count = 0;
    {
      const NoAllocationLock lock(mutex_);
      for (RegionId id = first; id < std::min(first + kIdsAtOnce, end); ++id) {
        const Region* const region = hits_.slab().region(id);
        if (region == nullptr || region->listed == 0) continue;
        entries[count++] = {region->listed, LeasesOnLocked(*region)};
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      ledger_.SetLeases(entries[i].entry, entries[i].leases);
    }
  }
}

}  // namespace linchpin::internal
