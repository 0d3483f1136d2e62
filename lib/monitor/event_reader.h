// EventReader: the thread that reads the events of a userfaultfd and tells them, and Settle(), by
// which others wait until it has.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"

#include "lib/base/fork_closed_fd.h"
#include "lib/base/thread.h"
#include "lib/monitor/extent_table.h"
#include "lib/monitor/listeners.h"
#include "lib/monitor/userfault.h"

namespace linchpin {

// The reader never allocates, frees, unmaps or logs, and takes only mutexes whose holders do not
// either: an munmap of armed memory waits for the reader.
//
// Thread-safety: Settle() and failed() may be called at once from any threads but the reader's.
class EventReader final {
 public:
  // All three outlive the reader.
  EventReader(const Userfault& userfault, ExtentTable& extents, Listeners& listeners)
      : userfault_(userfault), extents_(extents), listeners_(listeners) {}

  absl::Status Start();

  // Requires: nothing is armed, so that the reader's own exit makes no event.
  // Returns: false when the thread cannot be told to end, because the application closed our
  // descriptors behind our back: it goes on using all that it was given.
  bool Stop();

  // Returns once every change that freed addresses before the call has been told. 0.3 us if none
  // did. Where others unmap without a pause, so that there is never a moment with nothing
  // outstanding, it gives up after a while and tells instead that everything changed, which is true
  // of a superset.
  void Settle();

  // The same, but gives up without telling anything.
  // Returns: false when it gave up, or the monitor failed.
  bool TrySettle();

  // Whether the descriptor broke. Everybody was told that everything changed; no event comes any
  // more.
  bool failed() const { return extents_.closed(); }

  // Odd while events may have been read that are not yet told.
  const std::atomic<std::uint64_t>& epoch() const { return epoch_; }

 private:
  void Run();
  bool ReadBatch();
  bool WaitForOutstanding();
  void TellEverything();
  void Handle(const uffd_msg& event);
  void Fail();

  const Userfault& userfault_;
  ExtentTable& extents_;
  Listeners& listeners_;
  ForkClosedFd stop_;  // An eventfd.
  std::atomic<bool> reading_{false};
  Thread thread_;
  // Written by the reader alone.
  alignas(64) std::atomic<std::uint64_t> epoch_{0};
};

}  // namespace linchpin
