// Listeners: those who hear of changes, and the promise that a removed one is never called again.
#pragma once

#include <boost/intrusive/list.hpp>

#include "lib/base/mutex.h"
#include "linchpin/monitor.h"

namespace linchpin {

// Thread-safety: all calls may be made at once from any threads, but not by a listener, and not by
// who holds a lock that a listener takes.
class Listeners final {
 public:
  Listeners() = default;
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;
  ~Listeners();

  void Add(MemoryMonitor::Listener* listener);
  void Remove(MemoryMonitor::Listener* listener);
  void Tell(Range range);  // Allocates nothing.

 private:
  struct Node : boost::intrusive::list_base_hook<> {
    MemoryMonitor::Listener* listener = nullptr;
  };

  // Held while listeners are called, so whoever has taken it knows that none is being called. Nodes
  // are made and freed outside of it, because the monitor's reader takes it.
  Mutex mutex_;
  boost::intrusive::list<Node> nodes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace linchpin
