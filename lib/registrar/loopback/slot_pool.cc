#include "lib/registrar/loopback/slot_pool.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/check.h"

namespace linchpin::loopback {

SlotPool::SlotPool() = default;

absl::Status SlotPool::Open() {
  const MutexLock lock(mutex_);
  return OpenRing();
}

absl::Status SlotPool::OpenRing() {
  if (rings_made_ == kRingsMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", kSlotsMax,
                     " pieces of memory that the loopback device can register "
                     "are in use; deregister some"));
  }
  absl::StatusOr<std::unique_ptr<Ring>> ring = Ring::Create();
  if (!ring.ok()) return ring.status();
  std::vector<std::uint32_t>& free = free_[rings_made_];
  free.reserve(Ring::kSlots);
  for (std::uint32_t slot = Ring::kSlots; slot > 0; --slot) free.push_back(slot - 1);
  rings_[rings_made_] = *std::move(ring);
  ++rings_made_;
  slots_free_ += Ring::kSlots;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Slot>> SlotPool::Take(std::size_t count) {
  std::vector<Slot> taken;
  taken.reserve(count);
  const MutexLock lock(mutex_);
  while (slots_free_ < count || ShouldSpread()) {
    const absl::Status status = OpenRing();
    if (status.ok()) continue;
    if (slots_free_ < count) return status;
    break;  // The rings that there are will do.
  }
  slots_free_ -= count;
  while (taken.size() < count) {
    const std::size_t chosen = RingWithMostFree();
    std::vector<std::uint32_t>& free = free_[chosen];
    for (std::size_t more = std::min(count - taken.size(), free.size()); more > 0; --more) {
      taken.push_back({rings_[chosen].get(), free.back()});
      free.pop_back();
    }
  }
  return taken;
}

bool SlotPool::ShouldSpread() const {
  const std::size_t in_use = rings_made_ * Ring::kSlots - slots_free_;
  return rings_made_ < kSpread && in_use >= rings_made_ * kInUseBeforeSpread;
}

void SlotPool::Return(std::span<const Slot> slots) {
  const MutexLock lock(mutex_);
  for (const Slot& slot : slots) {
    const auto owner = std::find_if(rings_.begin(), rings_.end(),
                                    [&](const auto& ring) { return ring.get() == slot.ring; });
    LINCHPIN_CHECK(owner != rings_.end());
    free_[static_cast<std::size_t>(owner - rings_.begin())].push_back(slot.index);
  }
  slots_free_ += slots.size();
}

std::size_t SlotPool::RingWithMostFree() const {
  std::size_t best = 0;
  for (std::size_t i = 1; i < rings_made_; ++i) {
    if (free_[i].size() > free_[best].size()) best = i;
  }
  return best;
}

bool SlotPool::FlushUnpinned() {
  std::size_t rings = 0;
  {
    const MutexLock lock(mutex_);
    rings = rings_made_;
  }
  bool any = false;
  for (std::size_t i = 0; i < rings; ++i) {
    if (rings_[i]->FlushUnpinned()) any = true;
  }
  return any;
}

void SlotPool::CloseInForkedChild() {
  for (const std::unique_ptr<Ring>& ring : rings_) {
    if (ring != nullptr) ring->CloseInForkedChild();
  }
}

}  // namespace linchpin::loopback
