// SlotPool: the device's rings, made as they are needed, and which of their slots are free.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/mutex.h"
#include "lib/registrar/loopback/ring.h"

namespace linchpin::loopback {

// Thread-safety: all calls may be made at once from any threads. None but CloseInForkedChild may be
// made in a forked child.
class SlotPool final {
 public:
  static constexpr std::size_t kRingsMax = 128;
  static constexpr std::size_t kSlotsMax = kRingsMax * Ring::kSlots;

  SlotPool();

  // Makes the first ring. Returns: as Ring::Create.
  absl::Status Open();

  // Returns: `count` empty slots, of one ring if one has that many; ResourceExhausted when there
  // are not so many and no further ring can be made.
  absl::StatusOr<std::vector<Slot>> Take(std::size_t count);
  void Return(std::span<const Slot> slots);  // Requires: they are empty.

  // Ring::FlushUnpinned of every ring.
  bool FlushUnpinned();

  void CloseInForkedChild();

 private:
  // Threads that use different rings do not wait for each other, so registrations spread over
  // kSpread rings before any fills: a further one for each kInUseBeforeSpread in use. Not at once:
  // on recent kernels a ring's queues take 8 KiB of RLIMIT_MEMLOCK, which may be as low as 64 KiB.
  static constexpr std::size_t kSpread = 4;
  static constexpr std::size_t kInUseBeforeSpread = 64;

  bool ShouldSpread() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OpenRing() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::size_t RingWithMostFree() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  std::size_t rings_made_ ABSL_GUARDED_BY(mutex_) = 0;
  std::size_t slots_free_ ABSL_GUARDED_BY(mutex_) = 0;  // The sum of the sizes of free_.
  std::array<std::unique_ptr<Ring>, kRingsMax> rings_;  // [0, rings_made_) are set, once.
  std::array<std::vector<std::uint32_t>, kRingsMax> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace linchpin::loopback
