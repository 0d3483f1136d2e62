#include "lib/cache/hit_path.h"

#include <algorithm>
#include <chrono>

namespace linchpin::internal {
namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

// For how many ticks a thread's look for changes is good. 0: for this one acquire.
std::uint64_t SettleTicks(const MemoryMonitor::Pace& pace, Freshness freshness) {
  if (pace.epoch == nullptr) return 0;
  if (freshness == Freshness::kSynchronised) return kNever;
  if (pace.settle_interval == std::chrono::nanoseconds::max()) return kNever;
  const auto nanoseconds = static_cast<double>(pace.settle_interval.count());
  return static_cast<std::uint64_t>(nanoseconds * TicksPerNanosecond());
}

}  // namespace

HitPath::HitPath(MemoryMonitor& monitor, Freshness freshness)
    : process_cookie_(ProcessCookie()),
      monitor_(monitor),
      epoch_(monitor.pace().epoch),
      settle_ticks_(SettleTicks(monitor.pace(), freshness)) {}

// The time is taken before the look, so that it is rather too old than too new.
bool HitPath::Settle(Column& mine) {
  const std::uint64_t now = Ticks();
  monitor_.Settle();
  mine.settled_at = now;
  return true;
}

// A lease that was never given. In full, with the look at the doom: whoever summed meanwhile has
// counted it.
void HitPath::Undo(Column& mine, RegionId id) {
  AddAlone(mine.counts[id].released, std::memory_order_release);
  barrier_.Light();
  const std::uint32_t state = slab_.record(id).state.load(std::memory_order_acquire);
  if ((state & (record_state::kDoomed | record_state::kCounted)) != 0) doomed_(core_, id);
  Columns::Leave(mine);
}

void HitPath::Prepare() {
  Column* mine = columns_.Mine();
  if (mine == nullptr || mine->ids.load(std::memory_order_relaxed) < slab_.end()) {
    columns_.Attach(slab_.end(), slab_.capacity());
  }
}

}  // namespace linchpin::internal
