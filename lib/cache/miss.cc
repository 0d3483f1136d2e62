// A miss: publish the region as Registering, watch it, register it with no lock held, and recheck.
//
//   this thread                             the monitor's reader
//   settle (Acquire did); how many changes
//     were told so far?
//   Watch: what is mapped there
//   publish as Registering (locked); were
//     more told? Watch again: still so, or
//     start over
//   Register                                event -> OnChanged: Registering becomes Collided
//   recheck (locked): Live, or Collided
//
// Every change since Watch is told. What is told before the publication is among the changes
// counted there, and shows in the second Watch; what is told after it finds the published region.
// There is no third place for it, so a region that goes Live was watched from before its
// registration on.
#include <algorithm>
#include <utility>

#include "lib/cache/cache_core.h"
#include "lib/cache/union_plan.h"
#include "lib/explain/explain.h"

namespace linchpin::internal {
namespace {

constexpr int kMaxRoomRounds = 64;
constexpr std::size_t kDevicePage = 4096;

Range WholePages(const Range& range, std::size_t page_size) {
  const std::uintptr_t mask = page_size - 1;
  const std::uintptr_t end = range.end + mask < range.end ? ~mask : (range.end + mask) & ~mask;
  return {range.start & ~mask, end};
}

// What a local request registers if nothing is merged: whole pages, but no more of the mapping than
// is there.
Range PagesOf(const Request& request, const WatchedExtent& extent, std::uint64_t max_bytes) {
  if (request.exact) return request.range;
  Range pages = WholePages(request.range, extent.uniform ? extent.page_size : kDevicePage);
  if (extent.uniform) {
    pages = {std::max(pages.start, extent.range.start), std::min(pages.end, extent.range.end)};
  }
  // Not in the last page of the address space, whose end is no address.
  const bool fits = pages.size() <= max_bytes && pages.Contains(request.range);
  return fits ? pages : request.range;
}

// Whether the guard of the request's file makes good what no monitor hears of: that the file behind
// the memory shrinks.
bool IsGuarded(const Request& request, const WatchedExtent& extent) {
  return request.file != nullptr && extent.coverage == Coverage::kMappingChanges &&
         extent.uniform && !extent.passing && request.file->Guards(extent.device, extent.inode);
}

bool SameKind(Access a, Access b) {
  constexpr Access kKind = Access::kOnDemand | Access::kRelaxedOrdering;
  return (a & kKind) == (b & kKind);
}

}  // namespace

absl::StatusOr<Region*> CacheCore::Attempt(const Request& request, Attempts& attempts) {
  const std::uint64_t told = told_.load(std::memory_order_acquire);  // Before the look.
  attempts.region = nullptr;
  if (request.file != nullptr && !request.file->alive()) return EndedError(request);
  const WatchedExtent extent = monitor_->Watch(request.range, attempts.look_again);
  attempts.guarded = IsGuarded(request, extent);
  attempts.device = extent.device;
  attempts.inode = extent.inode;
  attempts.private_pages = extent.coverage == Coverage::kAll && extent.inode == 0;
  attempts.looked_again |= std::exchange(attempts.look_again, false);
  const Range pages = PagesOf(request, extent, limits_.max_region_bytes);
  bool flying = false;
  std::shared_ptr<Flight> flight;
  Verdict verdict = Verdict::kPublished;
  bool changed = false;
  {
    const NoAllocationLock lock(mutex_);
    Region* const found = attempts.landings == landings_ ? nullptr : FindLocked(request);
    if (found != nullptr) {
      TakeLocked(*found);
      return found;
    }
    flying = FindFlyingLocked(request, pages, attempts, flight);
    if (!flying) verdict = PublishLocked(request, extent, attempts);
    changed = told != told_.load(std::memory_order_relaxed);
    attempts.reaped_before = ReapedLocked();
  }
  if (flight != nullptr) return Join(pages, request.access, *flight);
  if (flying) {
    attempts.flight = std::make_shared<Flight>();  // Nobody waits for that one yet: next time.
    return nullptr;
  }
  if (verdict != Verdict::kPublished) {
    return NotPublished(request, verdict, attempts);
  }
  if (changed && !StillAsPlanned(*attempts.region, extent)) {
    MarkCollided(*attempts.region);
    return Land(attempts, absl::AbortedError(""), absl::OkStatus());
  }
  absl::StatusOr<Registration> registration = RegisterWithRoom(request, attempts);
  absl::Status refusal = registration.status();
  const bool no_access = absl::IsFailedPrecondition(refusal);
  if (attempts.is_union && (no_access || absl::IsResourceExhausted(refusal))) {
    attempts.no_union = true;  // The request alone may fit.
    refusal = absl::OkStatus();
  } else if (no_access && !attempts.looked_again) {
    attempts.look_again = true;
    refusal = absl::OkStatus();
  }
  return Land(attempts, std::move(registration), refusal);
}

absl::StatusOr<Region*> CacheCore::NotPublished(const Request& request, Verdict verdict,
                                                Attempts& attempts) {
  if (verdict == Verdict::kClosed) {
    return absl::FailedPreconditionError("the cache is closed; make a new one");
  }
  if (verdict == Verdict::kTooManyBytes) {
    return NoRoom(request.range, "CacheOptions::max_held_bytes is reached");
  }
  if (verdict == Verdict::kBehind) {
    attempts.lent = true;
    LendAHand();
    return nullptr;
  }
  if (verdict == Verdict::kPressure) {
    KeepExactUnderPressure();
    return nullptr;
  }
  if (verdict == Verdict::kNoIds) {
    if (GrowSlab() || FreeSpent()) return nullptr;
    return NoRoom(request.range,
                  "there is no memory for the cache's own records, or as many owned "
                  "leases are out as it has records for");
  }
  const bool again = attempts.rooms++ < kMaxRoomRounds;
  if (again && MakeRoom(1, attempts.reaped_before, attempts.rooms == 1)) return nullptr;
  return NoRoom(request.range, "the cache holds as many regions as it may");
}

// Returns: whether a region is under way that would do. `flight` is what to wait for then; null if
// the first who waits must make it.
bool CacheCore::FindFlyingLocked(const Request& request, const Range& pages, Attempts& attempts,
                                 std::shared_ptr<Flight>& flight) {
  const bool shares = options_.mode == Mode::kOn && !request.IsItsOwnersAlone();
  if (!shares || RefusesLocked()) return false;
  Region* found = nullptr;
  index_.pending().ForEachOverlapping(pages, [&](Region& region) {
    if (!region.use.shared || region.use.exact != request.exact) return;
    const bool same = region.range == pages && region.access == request.access;
    if (request.exact ? same : SameKind(region.access, request.access)) found = &region;
  });
  if (found == nullptr) return false;
  if (found->flight == nullptr) {
    found->flight = attempts.flight.get();
    flight = std::move(attempts.flight);
  } else {
    flight = found->flight->shared_from_this();
  }
  return true;
}

absl::StatusOr<Region*> CacheCore::Join(const Range& pages, Access access, Flight& flight) {
  {
    const NoAllocationLock lock(mutex_);
    while (!flight.done) flight.landed.Wait(mutex_);
  }
  // Done: nobody writes the flight any more. Its failure is ours if it tried no more than we would.
  const bool no_more = pages.Contains(flight.range) && !Any(flight.access & ~access);
  if (flight.code != absl::StatusCode::kOk && no_more) {
    return absl::Status(flight.code, flight.message);
  }
  return nullptr;
}

RegionUse CacheCore::UseOf(const Request& request, const WatchedExtent& extent,
                           bool guarded) const {
  const bool trusted = options_.unwatched == Unwatched::kTrust;
  const bool watched = extent.coverage == Coverage::kAll;
  RegionUse use;
  use.exact = request.exact;
  use.watched = extent.coverage != Coverage::kNone;
  use.shared = options_.mode == Mode::kOn && !request.IsItsOwnersAlone() &&
               (watched || guarded || (trusted && !extent.passing));
  use.guarded = use.shared && guarded && !watched;
  use.fast = use.shared && !request.exact;
  use.trusted = use.shared && !watched && !guarded;
  use.kept = use.shared && (!request.exact || options_.idle_remote == IdleRemote::kKeep);
  return use;
}

CacheCore::Verdict CacheCore::PublishLocked(const Request& request, const WatchedExtent& extent,
                                            Attempts& attempts) {
  if (RefusesLocked()) return Verdict::kClosed;
  if (!attempts.lent && BehindLocked()) return Verdict::kBehind;
  const Range pages = PagesOf(request, extent, limits_.max_region_bytes);
  const RegionUse use = UseOf(request, extent, attempts.guarded);
  Plan plan{pages, request.access, pages};
  if (use.fast && extent.uniform && !attempts.no_union) {
    const std::uint64_t room = max_idle_bytes_ - std::min(max_idle_bytes_, stats_.idle_bytes);
    plan = PlanUnion(
        index_, pages, request.access,
        {extent.range, limits_.max_region_bytes, room, options_.max_union_waste, extent.page_size},
        [this](const Region& other) {
          mutex_.AssertHeld();
          return LeasesOnLocked(other) != 0;
        });
  }
  if (OverHeldLocked(plan.range.size())) plan = {pages, request.access, pages};
  if (OverHeldLocked(plan.range.size())) return Verdict::kTooManyBytes;
  if (stats_.regions >= max_regions_) return Verdict::kTooManyRegions;
  if (use.kept && kept_bytes_ + plan.range.size() > max_idle_bytes_) {
    if (!pressure_) return Verdict::kPressure;
    pressed_ = Clock::now();
  }
  Region* const entered = hits_.slab().Enter();
  if (entered == nullptr) return Verdict::kNoIds;

  Region& region = *entered;
  attempts.region = entered;
  attempts.alone = plan.alone ? landings_ : 0;
  attempts.is_union = plan.range != pages || plan.access != request.access;
  region.use = use;
  region.range = plan.range;
  region.access = plan.access;
  region.asked_or_changed = plan.asked;
  index_.pending().Insert(region);
  ++stats_.regions;
  stats_.bytes += plan.range.size();
  if (region.use.kept) kept_bytes_ += plan.range.size();
  AccountLocked(region, Account::kFlying);
  return Verdict::kPublished;
}

bool CacheCore::StillAsPlanned(const Region& region, const WatchedExtent& extent) {
  if (!region.use.shared && !region.use.watched) return true;  // Nobody relies on it.
  const WatchedExtent now = monitor_->Watch(region.range, false);
  const bool covers = !extent.uniform || (now.uniform && now.range.Contains(region.range));
  const bool same_file = now.device == extent.device && now.inode == extent.inode;
  return covers && same_file && now.coverage == extent.coverage &&
         now.page_size == extent.page_size;
}

void CacheCore::MarkCollided(Region& region) {
  const NoAllocationLock lock(mutex_);
  region.Apply(RegionEvent::kMappingChanged);
}

absl::StatusOr<Registration> CacheCore::RegisterWithRoom(const Request& request,
                                                         Attempts& attempts) {
  const Region& region = *attempts.region;
  std::uint64_t reaped_before = attempts.reaped_before;
  for (int round = 0;; ++round) {
    if (round > 0) reaped_before = reaped();
    absl::StatusOr<Registration> made = registrar_->Register(region.range, region.access);
    if (made.ok() && made->keys.empty()) {
      static_cast<void>(registrar_->Deregister(*made));
      return absl::InternalError("the registrar returned a registration without keys");
    }
    if (made.ok()) List(request, attempts, region);
    if (made.ok() || attempts.is_union) return made;
    if (!absl::IsResourceExhausted(made.status())) {
      if (absl::IsFailedPrecondition(made.status()) && !attempts.looked_again) return made;
      return Explained(made.status(), region.range, region.access, *registrar_);
    }
    if (round == kMaxRoomRounds || !MakeRoom(region.range.size(), reaped_before, round == 0)) {
      const absl::Status why = Explained(made.status(), region.range, region.access, *registrar_);
      const std::string reason(why.message());
      return why == made.status() ? NoRoom(region.range, reason)
                                  : NoRoomExplained(region.range, reason);
    }
  }
}

}  // namespace linchpin::internal
