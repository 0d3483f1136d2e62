#include "lib/cache/hit_path.h"

#include <chrono>

namespace linchpin::internal {
namespace {

constexpr std::atomic<std::uint64_t> kAlwaysEven{0};

// For how many ticks a thread's look for changes is good. 0: for one acquire.
std::uint64_t SettleTicks(const MemoryMonitor::Pace& pace) {
  if (pace.epoch == nullptr) return 0;
  const auto nanoseconds = static_cast<double>(pace.settle_interval.count());
  return static_cast<std::uint64_t>(nanoseconds * TicksPerNanosecond());
}

bool MustSettle(const MemoryMonitor::Pace& pace, Freshness freshness) {
  if (pace.epoch == nullptr) return true;
  return freshness == Freshness::kStrict && pace.settle_interval != std::chrono::nanoseconds::max();
}

}  // namespace

HitPath::HitPath(MemoryMonitor& monitor, Freshness freshness, const MemoryMonitor::Pace& pace)
    : process_cookie_(ProcessCookie()),
      monitor_(monitor),
      epoch_(pace.epoch == nullptr ? &kAlwaysEven : pace.epoch),
      strict_(MustSettle(pace, freshness)),
      settle_ticks_(strict_ ? SettleTicks(pace) : 0) {}

absl::Status HitPath::Reserve(std::uint64_t regions) {
  absl::Status reserved = slab_.Reserve(regions);
  if (reserved.ok()) hints_.Reserve(slab_.capacity());
  return reserved;
}

HitPath::Taken HitPath::TakeAsTheGateSays(Column& mine, RegionId id, Asked asked,
                                          std::uint32_t rights) const {
  return barrier_.asymmetric() ? Take<Gate::kOpen>(mine, id, asked, rights)
                               : Take<Gate::kFenced>(mine, id, asked, rights);
}

// Trusted memory needs no look. What is trusted by the first glance must be by the last. The time
// of a look is taken before it, so that it is rather too old than too new.
HitPath::Taken HitPath::TryAcquireUncommon(std::uintptr_t start, std::size_t size,
                                           Access access) const {
  Column* const mine = columns_.Mine();
  if (mine == nullptr || Inherited()) return {};
  const RegionId id = hints_.Find(start);
  if (id == 0) return {};
  const std::uint32_t trusted =
      slab_.record(id).state.load(std::memory_order_relaxed) & record_state::kTrusted;
  const bool look = trusted == 0 && MustLook(*mine);
  if (look) {
    const std::uint64_t now = Ticks();
    monitor_.Settle();
    mine->settled_at = now;
  } else if (trusted == 0 && epoch_->load(std::memory_order_acquire) % 2 != 0) {
    return {};
  }
  const std::uint32_t rights = static_cast<std::uint32_t>(access) | trusted;
  Taken taken = TakeAsTheGateSays(*mine, id, {start, size}, rights);
  taken.settled = look;
  return taken;
}

HitPath::Taken HitPath::TryAcquireSettled(std::uintptr_t start, std::size_t size,
                                          Access access) const {
  return TakeAsTheGateSays(columns_.MineOrNobodys(), hints_.Find(start), {start, size},
                           static_cast<std::uint32_t>(access));
}

HitPath::Outcome HitPath::TryReleaseUncommon(RegionId id) const {
  return columns_.gate() == Gate::kFenced ? GiveBack<Gate::kFenced>(id) : Outcome::kRefused;
}

// In full, with the look at the doom: whoever summed meanwhile has counted it. Where leases are
// counted under the mutex, a last release may have seen this count too.
bool HitPath::Undo(Column& mine, RegionId id) const {
  AddAlone(mine.counts[id].released, std::memory_order_release);
  barrier_.Light();
  const std::uint32_t state = slab_.record(id).state.load(std::memory_order_acquire);
  return (state & (record_state::kDoomed | record_state::kCounted)) != 0;
}

void HitPath::Prepare() {
  if (columns_.MineOrNobodys().ids.load(std::memory_order_relaxed) < slab_.end()) {
    columns_.Attach(slab_.end(), slab_.capacity());
  }
}

}  // namespace linchpin::internal
