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

HitPath::HitPath(MemoryMonitor& monitor, Freshness freshness, bool audited,
                 const MemoryMonitor::Pace& pace)
    : process_cookie_(ProcessCookie()),
      monitor_(monitor),
      epoch_(pace.epoch == nullptr ? &kAlwaysEven : pace.epoch),
      strict_(MustSettle(pace, freshness)),
      careful_(strict_ || audited),
      settle_ticks_(strict_ ? SettleTicks(pace) : 0) {}

absl::Status HitPath::Reserve(std::uint64_t regions) {
  absl::Status reserved = slab_.Reserve(regions);
  if (!reserved.ok()) return reserved;
  hints_.Reserve(slab_.capacity());
  return columns_.Reserve();
}

HitPath::Taken HitPath::TakeAsTheGateSays(Column& mine, RegionId id, Asked asked,
                                          std::uint32_t rights) const {
  return barrier_.asymmetric() ? Take<Gate::kOpen>(mine, id, asked, rights)
                               : Take<Gate::kFenced>(mine, id, asked, rights);
}

// Trusted memory needs no look. What is trusted by the first glance must be by the last.
HitPath::Taken HitPath::TryAcquireUncommon(std::uintptr_t start, std::size_t size,
                                           Access access) const {
  Column* const mine = columns_.Mine();
  if (mine == nullptr || Inherited()) return {};
  const RegionId id = hints_.Find(start);
  if (id == 0) return {};
  const std::uint32_t trusted =
      slab_.record(id).state.load(std::memory_order_relaxed) & record_state::kTrusted;
  if (trusted == 0) SettleFor(*mine);
  return TakeAsTheGateSays(*mine, id, {start, size}, static_cast<std::uint32_t>(access) | trusted);
}

HitPath::Taken HitPath::TryAcquireSettled(std::uintptr_t start, std::size_t size,
                                          Access access) const {
  return TakeAsTheGateSays(columns_.MineOrNobodys(), hints_.Find(start), {start, size},
                           static_cast<std::uint32_t>(access));
}

HitPath::Outcome HitPath::TryReleaseUncommon(RegionId id) const {
  return columns_.gate() == Gate::kFenced ? GiveBack<Gate::kFenced>(id) : Outcome::kRefused;
}

// In full, with the look at the state: whoever summed meanwhile has counted it.
bool HitPath::Undo(Column& mine, RegionId id) const {
  AddAlone(mine.counts[id].released, std::memory_order_release);
  barrier_.Light();
  return MustTell(slab_.record(id).state.load(std::memory_order_acquire));
}

void HitPath::Prepare() {
  if (columns_.MineOrNobodys().ids.load(std::memory_order_relaxed) < slab_.end()) {
    columns_.Attach(slab_.end(), slab_.capacity());
  }
}

// The time of a look is taken before it, so that it is rather too old than too new.
void HitPath::SettleFor(Column& mine) const {
  if (Fresh(mine, strict_)) return;
  const std::uint64_t now = Ticks();
  monitor_.Settle();
  mine.settled_at = now;
}

void HitPath::Settle() {
  Column* const mine = columns_.Mine();
  if (mine == nullptr) return monitor_.Settle();
  SettleFor(*mine);
}

// Who is strict has settled for what was mapped when the acquire began.
void HitPath::SettleForMiss() {
  if (!strict_) monitor_.Settle();
}

}  // namespace linchpin::internal
