// ExtentTable: the extents that are known to be armed, so that a second look at one costs no system
// call; and the extents that somebody is looking at just now, so that a change is not missed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>

#include "lib/base/mutex.h"
#include "lib/monitor/armed_hull.h"
#include "lib/monitor/quarantine.h"
#include "linchpin/monitor.h"

namespace linchpin {

// Thread-safety: all calls may be made at once from any threads. Changed(), Discarded(), Moved()
// and Close() are the reader's: they allocate and free nothing, so what they drop is left for the
// others to free.
class ExtentTable final {
 public:
  // A look at `range` in progress: between its making and Publish(), no change goes unnoticed.
  class Probe final : public boost::intrusive::list_base_hook<> {
   public:
    // `range` is going to be armed, or some of it.
    Probe(ExtentTable& table, Range range);
    ~Probe();
    Probe(const Probe&) = delete;
    Probe& operator=(const Probe&) = delete;

   private:
    friend class ExtentTable;
    ExtentTable& table_;
    const Range range_;
    bool touched_ = false;  // By a change. Guarded by the table's mutex.
  };

  ExtentTable() = default;
  ExtentTable(const ExtentTable&) = delete;
  ExtentTable& operator=(const ExtentTable&) = delete;
  ~ExtentTable();  // Requires: no probe exists.

  // Returns: the known extent that contains `range`, if there is one.
  std::optional<WatchedExtent> Find(Range range);

  // Whether pages of `range` were discarded a short while ago: see Quarantine.
  bool InQuarantine(Range range);

  // Drops what is known of `range`, and frees what was dropped before.
  void Forget(Range range);

  // Ends a look: what it found holds until the next change, and is remembered if it is uniform.
  // Returns: false when a change touched the probe, or the table is closed: nothing is known then.
  // Requires: extent.range lies in the probe's range, if it is uniform.
  bool Publish(const Probe& probe, const WatchedExtent& extent);

  void Changed(Range range);         // No extent in `range` is known any more.
  void Discarded(Range range);       // The same, and its pages are in quarantine.
  void Moved(Range from, Range to);  // The same for both; `to` is armed.
  void Close();                      // Knows nothing from now on.
  bool closed() const { return closed_.load(std::memory_order_acquire); }

  // What may be armed, and a number that moves with it.
  struct Armed {
    std::vector<Range> ranges;
    std::uint64_t version = 0;
  };
  Armed armed();

 private:
  struct Node : boost::intrusive::set_base_hook<> {
    WatchedExtent extent;
    std::unique_ptr<Node> next_dropped;
  };
  struct StartOf {
    using type = std::uintptr_t;
    type operator()(const Node& node) const { return node.extent.range.start; }
  };
  using Nodes = boost::intrusive::set<Node, boost::intrusive::key_of_value<StartOf>>;

  void Drop(Range range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Touch(Range range) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static void Free(std::unique_ptr<Node> dropped);

  // Protects all below. The reader takes it: its holders do not allocate, free, or call out.
  Mutex mutex_;
  // Armed, disjoint, of one mapping each; no change of theirs has been read since.
  Nodes known_ ABSL_GUARDED_BY(mutex_);
  boost::intrusive::list<Probe> probes_ ABSL_GUARDED_BY(mutex_);
  // Nodes that are in no set, to be freed by whoever is not the reader.
  std::unique_ptr<Node> dropped_ ABSL_GUARDED_BY(mutex_);
  ArmedHull armed_ ABSL_GUARDED_BY(mutex_);
  Quarantine quarantine_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> quarantined_{false};  // Whether it has entries. Changed under mutex_.
  std::atomic<bool> closed_{false};       // Changed under mutex_, read also without.
};

}  // namespace linchpin
