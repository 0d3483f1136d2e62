// Making, trimming, draining, closing and ending a cache.
#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/check.h"
#include "lib/base/log.h"
#include "lib/base/process.h"
#include "lib/cache/cache_core.h"

namespace linchpin::internal {
namespace {

std::uint64_t DefaultIdleBytes(const MemoryLimits& memory) {
  if (memory.memlock_exempt) return memory.machine_bytes / 2;
  const std::uint64_t left =
      memory.memlock_bytes - std::min(memory.memlock_bytes, memory.pinned_bytes);
  return std::min(left, memory.machine_bytes) / 2;
}

// So many that what is reserved for them takes an eighth of the addresses that RLIMIT_AS leaves:
// the others are for the program, and for what each of its threads counts.
std::uint64_t AffordableRegions(const MemoryLimits& memory) {
  constexpr std::uint64_t kShare = 8;
  return memory.address_bytes / kShare / HitPath::kReservedPerRegion;
}

// Ids for claims, besides those of the regions that there may be.
constexpr std::uint64_t kMaxClaims = std::uint64_t{64} << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<CacheCore>> CacheCore::Create(std::shared_ptr<Registrar> registrar,
                                                             CacheOptions options) {
  if (registrar == nullptr) {
    return absl::InvalidArgumentError("the registrar is null; make one for your device first");
  }
  if (!(options.max_union_waste >= 0 && options.max_union_waste < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("max_union_waste is ", options.max_union_waste,
                                                   "; choose a share from 0 to below 1"));
  }
  if (options.monitor == nullptr) options.monitor = MemoryMonitor::Shared();
  const MemoryLimits memory = ReadMemoryLimits();
  std::unique_ptr<CacheCore> core(new CacheCore(std::move(registrar), std::move(options), memory));
  const std::uint64_t claims = std::min(kMaxClaims, AffordableRegions(memory));
  absl::Status reserved = core->hits_.Reserve(core->max_regions_ + claims);
  if (!reserved.ok()) return reserved;
  const std::uint64_t ids = core->hits_.slab().capacity();
  core->max_claims_ = std::min(claims, ids / 2);
  core->max_regions_ = std::min(core->max_regions_, ids - core->max_claims_);
  core->counters_ = core->ledger_.AddCache(core->device_);
  if (core->options_.max_held_bytes != 0) core->EnterExact();  // For good: each hit is counted.
  absl::StatusOr<Thread> reaper =
      Thread::Start("linchpin-reaper", [raw = core.get()] { raw->Reaper(); });
  if (!reaper.ok()) return reaper.status();
  core->reaper_ = *std::move(reaper);
  core->monitor_->AddListener(core.get());
  return core;
}

CacheCore::CacheCore(std::shared_ptr<Registrar> registrar, CacheOptions options,
                     const MemoryLimits& memory)
    : registrar_(std::move(registrar)),
      options_(std::move(options)),
      monitor_(options_.monitor),
      limits_(registrar_->limits()),
      device_(registrar_->name()),
      ledger_(Ledger::OfProcess()),
      max_idle_bytes_(options_.max_idle_bytes != 0 ? options_.max_idle_bytes
                                                   : DefaultIdleBytes(memory)),
      max_regions_(std::max<std::uint64_t>(
          std::min(options_.max_regions != 0 ? options_.max_regions : limits_.max_regions / 4,
                   AffordableRegions(memory)),
          1)),
      auditor_(options_.audit),
      hits_(*monitor_, options_.freshness, auditor_.on()) {}

// Nothing is left by now but records of leaks.
CacheCore::~CacheCore() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  ledger_.RemoveCache(counters_);
  LINCHPIN_CHECK(graves_.empty() && reaping_.empty() && clock_.empty() && limbo_.empty());
  LINCHPIN_CHECK(spent_.empty() && owned_.empty() && over_ == nullptr && outlived_ == 0);
  leaked_.clear_and_dispose([this](Region* region) { hits_.slab().Leave(*region); });
}

// In a forked child: another thread of the parent may have been changing the lists at the fork, or
// hold the mutex for ever, so nothing of the core is touched. It stays reachable.
void CacheCore::Abandon(std::unique_ptr<CacheCore> core) {
  static std::atomic<CacheCore*> abandoned{nullptr};
  CacheCore* const left = core.release();
  left->next_abandoned_ = abandoned.load();
  while (!abandoned.compare_exchange_weak(left->next_abandoned_, left)) continue;
}

void CacheCore::End(std::unique_ptr<CacheCore> core) {
  if (core->Inherited()) {
    core->reaper_.Forget();
    return Abandon(std::move(core));
  }
  Thread reaper = std::move(core->reaper_);
  core->EnterExact();  // For good: a release after this touches the core under its mutex alone.
  core->FlushLimbo();
  CacheStats left;
  {
    const NoAllocationLock lock(core->mutex_);
    core->closed_ = true;
    core->ending_ = true;
    core->EvictToLocked(0);
    left = core->stats_;
    core->CountFastLocked(left);
    // Also when a registrar's Deregister drops the last reference: the reaper cannot join itself.
    core->orphaned_ = left.leases != 0 || reaper.IsCurrent();
    core->work_.NotifyOne();
  }
  if (left.leases == 0 && !reaper.IsCurrent()) {
    reaper.Join();
    core->monitor_->RemoveListener(core.get());
    return;
  }
  static_cast<void>(core.release());  // The reaper deletes it after the last release.
  reaper.Detach();
  if (left.leases == 0) return;
  Log(absl::StrCat("a cache was destroyed with ", left.leases, " leases out on ", left.held_bytes,
                   " bytes; each region is deregistered on its last release"));
}

std::size_t CacheCore::Trim(std::size_t bytes_to_keep) {
  if (Inherited()) return 0;
  FlushLimbo();
  {
    const Exactly exactly(*this);
    const NoAllocationLock lock(mutex_);
    EvictToLocked(bytes_to_keep);
  }
  ReapAll(Clock::time_point::max());
  GiveMemoryBack();
  return stats().idle_bytes;
}

// If the cache is empty, the memory of its records goes too. They read as free ones again.
void CacheCore::GiveMemoryBack() {
  {
    const NoAllocationLock lock(mutex_);
    if (!EmptyLocked()) return;
  }
  const Exactly exactly(*this);
  const MutexLock growing(growing_);
  {
    const NoAllocationLock lock(mutex_);
    if (!hits_.slab().Retract()) return;
  }
  hits_.slab().Clear();
  hits_.columns().ForEach([](const Column& column) { column.map->Clear(); });
  hits_.hints().Clear();
  hits_.slab().Grow();
}

absl::Status CacheCore::Drain(Clock::time_point deadline) {
  if (Inherited()) return InheritedError();
  const Exactly exactly(*this);
  bool in_time = true;
  while (in_time) {
    FlushLimbo();
    {
      const NoAllocationLock lock(mutex_);
      EvictToLocked(0);
      if (EmptyLocked()) return absl::OkStatus();
      if (graves_.empty()) in_time = changed_.WaitUntil(mutex_, deadline);
    }
    ReapAll(deadline);
    FreeSpent();
    in_time = in_time && Clock::now() < deadline;
  }
  {
    const NoAllocationLock lock(mutex_);
    if (EmptyLocked()) return absl::OkStatus();
  }
  return absl::DeadlineExceededError(absl::StrCat("not drained in time: ", Holders()));
}

absl::Status CacheCore::Close(Clock::time_point deadline) {
  if (Inherited()) return InheritedError();
  EnterExact();
  {
    const NoAllocationLock lock(mutex_);
    ++closers_;
  }
  absl::Status drained = Drain(deadline);
  {
    const NoAllocationLock lock(mutex_);
    --closers_;
    if (drained.ok()) closed_ = true;
    if (!drained.ok()) LeaveExact();  // A closed cache is never hit again.
  }
  if (drained.ok()) return drained;
  return absl::FailedPreconditionError(absl::StrCat("the cache is in use: ", Holders()));
}

absl::Status CacheCore::Fence(const Range& range, Clock::time_point deadline) {
  if (Inherited()) return InheritedError();
  Invalidate(range);
  bool in_time = true;
  bool leaked = false;
  while (in_time && !leaked) {
    FlushLimbo();
    const bool reaped = ReapOne(range);
    const NoAllocationLock lock(mutex_);
    for (const Region& region : leaked_) leaked = leaked || region.range.Overlaps(range);
    if (leaked) break;
    if (GoneLocked(range)) return absl::OkStatus();
    in_time = reaped ? Clock::now() < deadline : changed_.WaitUntil(mutex_, deadline);
  }
  if (leaked) {
    return absl::InternalError(absl::StrCat(
        "a registration in ", range.ToString(),
        " could not be deregistered, and the device may still reach it; close the device"));
  }
  return absl::DeadlineExceededError(
      absl::StrCat(range.ToString(), " is still registered: ", Holders()));
}

CacheStats CacheCore::stats() {
  if (Inherited()) return {};
  FlushLimbo();
  const NoAllocationLock lock(mutex_);
  CacheStats stats = stats_;
  CountFastLocked(stats);
  return stats;
}

void CacheCore::CheckInvariantsForTest() {
  const Exactly exactly(*this);
  FlushLimbo();
  const NoAllocationLock lock(mutex_);
  index_.CheckInvariants();
  for (const RegionExtras& link : owned_) {
    LINCHPIN_CHECK(link.claim.file() != nullptr && hits_.slab().region(link.region) != nullptr);
  }
  CacheStats sum;
  std::uint64_t flying_bytes = 0;
  std::uint64_t kept_bytes = 0;
  index_.ForEach([&](const Region& region) {
    mutex_.AssertHeld();
    if (region.retiring) {  // The reaper is just finding out about it.
      sum.deferred_bytes += region.range.size();
      return;
    }
    const std::uint32_t leases = LeasesOnLocked(region);
    const bool kept = region.state == RegionState::kLive && region.use.kept;
    const bool flying = region.account == Account::kFlying;
    (flying ? flying_bytes : leases == 0 ? sum.idle_bytes : sum.held_bytes) += region.range.size();
    if (region.use.kept && (kept || flying)) kept_bytes += region.range.size();
    if (region.state == RegionState::kStale) {
      ++sum.stale_regions;
      sum.stale_bytes += region.range.size();
    }
    LINCHPIN_CHECK(hits_.slab().region(region.id) == &region && region.list.is_linked() == kept);
  });
  for (const RegionList* list : {&graves_, &reaping_}) {
    for (const Region& region : *list) {
      const bool dead = region.state == RegionState::kDead && LeasesOnLocked(region) == 0;
      LINCHPIN_CHECK(dead || region.state == RegionState::kRevoked);
      sum.deferred_bytes += region.range.size();
    }
  }
  LINCHPIN_CHECK(kept_bytes == kept_bytes_);
  for (RegionId id = 1; id < hits_.slab().end(); ++id) {
    LINCHPIN_CHECK(hits_.slab().region(id) != nullptr || hits_.slab().tally(id) == 0);
  }
  LINCHPIN_CHECK(sum.idle_bytes == stats_.idle_bytes && sum.held_bytes == stats_.held_bytes);
  LINCHPIN_CHECK(sum.deferred_bytes == stats_.deferred_bytes);
  LINCHPIN_CHECK(sum.stale_regions == stats_.stale_regions);
  LINCHPIN_CHECK(sum.stale_bytes == stats_.stale_bytes);
  LINCHPIN_CHECK(flying_bytes == flying_bytes_);
  LINCHPIN_CHECK(stats_.bytes ==
                 stats_.idle_bytes + stats_.held_bytes + stats_.deferred_bytes + flying_bytes_);
}

}  // namespace linchpin::internal
