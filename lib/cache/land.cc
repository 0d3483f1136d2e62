// The end of a miss: what was registered goes live, unless its mapping changed meanwhile.
#include <utility>

#include "lib/cache/cache_core.h"

namespace linchpin::internal {

absl::StatusOr<Region*> CacheCore::Land(Attempts& attempts,
                                        absl::StatusOr<Registration> registration,
                                        const absl::Status& final_status) {
  Region& region = *attempts.region;
  std::string message(final_status.message());
  ExtrasChain first;
  if (registration.ok()) first = FirstLink(*registration, attempts);
  bool collided = false;
  {
    const NoAllocationLock lock(mutex_);
    region.set.unlink();
    Flight* const flight = std::exchange(region.flight, nullptr);
    if (flight != nullptr) {
      flight->range = region.range;
      flight->access = region.access;
    }
    const bool too_late = attempts.file != nullptr && !attempts.file->alive();
    if (too_late && registration.ok()) region.Apply(RegionEvent::kMappingChanged);
    collided = region.state == RegionState::kCollided;
    if (registration.ok()) {
      ++stats_.registrations;
      KeepLocked(region, *registration);
      region.listed = attempts.listed;
      region.extras = std::move(first);
      if (IsUnaudited(region)) ++stats_.unaudited;
      const bool owned = attempts.extras != nullptr && (region.use.guarded || region.use.exact);
      if (owned && (too_late || !collided)) OwnLocked(region, std::move(attempts.extras));
      if (too_late && attempts.own != nullptr) OwnLocked(region, std::move(attempts.own));
      region.Apply(RegionEvent::kRegistered);
      if (collided) {
        UnkeepLocked(region);
        BuryLocked(region);
      } else {
        if (!owned && !region.use.shared && options_.mode == Mode::kOn) ++stats_.unwatched;
        GoLiveLocked(region, attempts.alone == landings_);
      }
    } else {
      region.Apply(RegionEvent::kFailed);
      --stats_.regions;
      stats_.bytes -= region.range.size();
      UnkeepLocked(region);
      AccountLocked(region, Account::kNone);
    }
    if (!registration.ok()) hits_.slab().Leave(region);
    if (collided) ++stats_.retries;
    if (flight != nullptr) {
      if (!collided) {
        flight->code = final_status.code();
        flight->message = std::move(message);
      }
      flight->done = true;
      flight->landed.NotifyAll();
    }
    changed_.NotifyAll();
  }
  if (collided) {
    ++attempts.collisions;
    attempts.no_union = true;  // The change may be none of the request's own memory.
  }
  if (!registration.ok() && !collided && !final_status.ok()) return final_status;
  return registration.ok() && !collided ? &region : nullptr;
}

void CacheCore::KeepLocked(Region& region, const Registration& registration) {
  Record& record = hits_.slab().record(region.id);
  record.lkey.store(registration.keys.front().lkey, std::memory_order_relaxed);
  record.rkey.store(registration.keys.front().rkey, std::memory_order_relaxed);
  region.handle = registration.handle;
}

// Lets the record say what the region is. From here on it can be hit, if it is fast.
void CacheCore::ShowLocked(const Region& region) {
  Record& record = hits_.slab().record(region.id);
  record.start.store(region.range.start, std::memory_order_relaxed);
  record.size.store(region.range.size(), std::memory_order_relaxed);
  const auto rights = static_cast<std::uint32_t>(region.access);
  const std::uint32_t trusted = region.use.trusted ? record_state::kTrusted : 0;
  record.state.store(
      region.use.fast ? record_state::kLive | trusted | rights : record_state::kCounted,
      std::memory_order_release);
}

// `alone`: no region of its kind overlaps it, so none need be looked for.
void CacheCore::GoLiveLocked(Region& region, bool alone) {
  ++landings_;
  ++hits_.slab().tally(region.id);
  AccountLocked(region, Account::kHeld);
  if (region.use.kept) clock_.push_back(region);
  ShowLocked(region);
  if (!region.use.shared) {
    index_.aside().Insert(region);
    return;
  }
  if (region.use.exact) {
    index_.exact().Insert(region);
    return;
  }
  Shelf& shelf = index_.shelf(region.access);
  if (alone) return shelf.Insert(region);
  bool overlaps = false;
  index_.ForEachComparable(region.range, region.access, [&](Region& other) {
    mutex_.AssertHeld();
    overlaps = true;
    const bool serves_all =
        region.range.Contains(other.range) && !Any(other.access & ~region.access);
    if (serves_all) RetireLocked(other);
  });
  const bool superfluous = overlaps && shelf.FindContaining(region.range) != nullptr;
  shelf.Insert(region);
  if (superfluous) RetireLocked(region);
}

}  // namespace linchpin::internal
