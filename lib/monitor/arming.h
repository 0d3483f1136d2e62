// Arming: finds out what a range is, arms it, and takes back all that was armed.
#pragma once

#include <vector>

#include "lib/memory/mapping.h"
#include "lib/monitor/event_reader.h"
#include "lib/monitor/extent_table.h"
#include "lib/monitor/userfault.h"
#include "linchpin/monitor.h"

namespace linchpin {

// Thread-safety: Watch() may be called at once from any threads but the reader's.
class Arming final {
 public:
  // All three outlive this.
  Arming(const Userfault& userfault, ExtentTable& extents, EventReader& reader)
      : userfault_(userfault), extents_(extents), reader_(reader) {}

  // See MemoryMonitor::Watch.
  WatchedExtent Watch(Range range, bool look_again);

  // Disarms everything, while the reader still reads: closing the descriptor would not, as long as
  // a forked child holds a copy, and then an munmap would wait for a reader that is gone. Requires:
  // no Watch() is called any more.
  void DisarmAll();

 private:
  WatchedExtent Look(Range range, bool look_again);
  bool LookAndArm(Range range, WatchedExtent* extent);
  [[nodiscard]] bool ArmAll(const std::vector<Mapping>& mappings) const;
  void DisarmWithin(Range range) const;

  const Userfault& userfault_;
  ExtentTable& extents_;
  EventReader& reader_;
};

}  // namespace linchpin
