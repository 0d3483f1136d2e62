// Ring: one io_uring and its table of registered buffers. It makes and drops the kernel's long-term
// pins, and moves bytes between pinned pages and a pipe.
#pragma once

#include <liburing.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"

#include "lib/base/fork_closed_fd.h"
#include "lib/registrar/loopback/fair_mutex.h"
#include "linchpin/range.h"

namespace linchpin::loopback {

class Ring;

// One place in a ring's table of registered buffers.
struct Slot {
  Ring* ring = nullptr;
  std::uint32_t index = 0;
};

// Part of what a slot pins. `address` says which part: nothing need be mapped there any more.
struct PinnedExtent {
  Slot slot;
  std::uintptr_t address = 0;
  std::size_t length = 0;
};

enum class Direction : std::uint8_t { kToPipe, kFromPipe };

// How far a move came: the first `bytes` bytes, and why no further (an errno value; 0 if all moved,
// or if the kernel moved less than asked for no reason, as it may).
struct Moved {
  std::size_t bytes = 0;
  int error = 0;
};

// Thread-safety: all calls may be made at once from any threads. None but CloseInForkedChild may be
// made in a forked child.
class Ring final {
 public:
  // The kernel allows 16,384. But before it charges a page of a huge page it looks through every
  // buffer of the ring: in rings of 4,096, 16,384 registrations in huge pages take less than half
  // the time.
  static constexpr std::uint32_t kSlots = 4096;

  // The most extents in one move.
  static constexpr std::size_t kBatch = 64;

  // Returns: the ring, with an empty table; Unavailable when the process may not use io_uring or
  // the kernel is too old, with what to change; ResourceExhausted when it may, but not one more.
  static absl::StatusOr<std::unique_ptr<Ring>> Create();
  ~Ring();  // Unpins whatever is pinned.
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // Pins `range`, of at most 1 GiB, into an empty slot. Returns: 0, or an errno value.
  int Pin(std::uint32_t slot, Range range);

  // Empties the slot. Requires: no move uses it. Returns: 0, or an errno value, and then whether
  // the pages are still pinned is unknown. Kernels before 6.4 let the pages go up to a second
  // later.
  int Unpin(std::uint32_t slot);

  // Makes the kernel let go now of all that was unpinned (40 ms where it would take a second).
  // Returns: whether there was any.
  bool FlushUnpinned();

  // Moves the extents, in order, through one end of a non-blocking pipe.
  // Requires: 1 to kBatch extents, all in slots of this ring, and when each begins, the pipe has
  // room or bytes for some of it: else the move waits for them.
  Moved Move(Direction direction, int pipe, std::span<const PinnedExtent> extents);

  // For a child that no fork handler ran in.
  void CloseInForkedChild() { descriptor_.Close(); }

 private:
  using Results = std::array<int, kBatch>;

  Ring() = default;
  absl::Status Open();
  void Queue(Direction direction, int pipe, std::span<const PinnedExtent> extents)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);
  int SubmitAndWait(std::size_t count, Results& results) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);
  std::size_t Reap(Results& results) ABSL_EXCLUSIVE_LOCKS_REQUIRED(turn_);

  // Guards the queues and the table. Held for one chunk of a transfer, or one pin. Its holder takes
  // no other lock.
  FairMutex turn_;
  io_uring ring_ ABSL_GUARDED_BY(turn_){};

  // The ring's. Closed in forked children, or the pins of a killed process would last as long as
  // they.
  ForkClosedFd descriptor_;

  // The queues can no longer be trusted.
  bool broken_ ABSL_GUARDED_BY(turn_) = false;

  // How many of the slots that were unpinned the kernel has not let go of.
  std::uint64_t unreleased_ ABSL_GUARDED_BY(turn_) = 0;
};

}  // namespace linchpin::loopback
