// Quarantine: memory whose pages may be about to go although the event has been read.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>

#include "linchpin/range.h"

namespace linchpin {

// The kernel tells of MADV_DONTNEED and its like *before* it drops the pages, and waits only until
// the event is read:
//
//   thread that discards            reader                 another thread
//   queue the event, wait           read(), tell: what was registered is out
//   wakes up, but is preempted                             registers the old pages
//   drops the pages                                        keeps a registration of them
//
// User space has no witness of the drop. So memory that was discarded is not counted as watched for
// a while: a registration of it serves one lease only. kLasts is longer than any delay of a
// runnable thread that we have seen (30 ms with ten threads a core), by far.
//
// Not thread-safe. Allocates nothing.
class Quarantine final {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kLasts{1};
  static constexpr std::size_t kCapacity = 128;

  void Add(Range range, Clock::time_point now);

  // Forgets what is in quarantine no longer.
  void Expire(Clock::time_point now);
  bool empty() const { return count_ == 0; }

  bool Overlaps(Range range, Clock::time_point now) const;

 private:
  struct Entry {
    Range range;
    Clock::time_point until;
  };

  // Entries [0, count_). When there is no place for one more, the one that grows least by it
  // becomes the hull of both: more is in quarantine then than need be, never less.
  std::array<Entry, kCapacity> entries_{};
  std::size_t count_ = 0;
};

}  // namespace linchpin
