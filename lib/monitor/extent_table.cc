#include "lib/monitor/extent_table.h"

#include <iterator>
#include <utility>

#include "lib/base/check.h"
#include "lib/base/everywhere.h"

namespace linchpin {

ExtentTable::Probe::Probe(ExtentTable& table, Range range) : table_(table), range_(range) {
  const NoAllocationLock lock(table_.mutex_);
  table_.probes_.push_back(*this);
  table_.armed_.Add(range);
}

ExtentTable::Probe::~Probe() {
  const NoAllocationLock lock(table_.mutex_);
  table_.probes_.erase(table_.probes_.iterator_to(*this));
}

ExtentTable::~ExtentTable() {
  Forget(kEverywhere);
  const MutexLock lock(mutex_);
  LINCHPIN_CHECK(probes_.empty());
}

std::optional<WatchedExtent> ExtentTable::Find(Range range) {
  const NoAllocationLock lock(mutex_);
  auto after = known_.upper_bound(range.start);
  if (after == known_.begin()) return std::nullopt;
  const WatchedExtent& extent = std::prev(after)->extent;
  if (!extent.range.Contains(range)) return std::nullopt;
  return extent;
}

void ExtentTable::Forget(Range range) {
  std::unique_ptr<Node> dropped;
  {
    const NoAllocationLock lock(mutex_);
    Drop(range);
    dropped = std::move(dropped_);
  }
  Free(std::move(dropped));
}

bool ExtentTable::Publish(const Probe& probe, const WatchedExtent& extent) {
  auto node = std::make_unique<Node>();
  node->extent = extent;
  const NoAllocationLock lock(mutex_);
  if (probe.touched_ || closed_) return false;
  if (!extent.uniform) return true;
  LINCHPIN_CHECK(probe.range_.Contains(extent.range));
  Drop(extent.range);
  known_.insert(*node.release());
  return true;
}

void ExtentTable::Changed(Range range) {
  const NoAllocationLock lock(mutex_);
  Touch(range);
}

void ExtentTable::Discarded(Range range) {
  const auto now = Quarantine::Clock::now();
  const NoAllocationLock lock(mutex_);
  quarantine_.Add(range, now);
  quarantined_.store(true, std::memory_order_relaxed);
  Touch(range);
}

// Who finds nothing in quarantine, because the reader is just putting it there, has looked before
// that was told: the listeners hear of it after.
bool ExtentTable::InQuarantine(Range range) {
  if (!quarantined_.load(std::memory_order_relaxed)) return false;
  const auto now = Quarantine::Clock::now();
  const NoAllocationLock lock(mutex_);
  quarantine_.Expire(now);
  quarantined_.store(!quarantine_.empty(), std::memory_order_relaxed);
  return quarantine_.Overlaps(range, now);
}

void ExtentTable::Moved(Range from, Range to) {
  const NoAllocationLock lock(mutex_);
  armed_.Add(to);
  Touch(from);
  Touch(to);
}

void ExtentTable::Close() {
  const NoAllocationLock lock(mutex_);
  closed_ = true;
  Touch(kEverywhere);
}

ExtentTable::Armed ExtentTable::armed() {
  Armed armed;
  armed.ranges.reserve(ArmedHull::kCapacity);
  const NoAllocationLock lock(mutex_);
  armed.ranges.assign(armed_.ranges().begin(), armed_.ranges().end());
  armed.version = armed_.version();
  return armed;
}

void ExtentTable::Touch(Range range) {
  Drop(range);
  for (Probe& probe : probes_) {
    if (probe.range_.Overlaps(range)) probe.touched_ = true;
  }
}

void ExtentTable::Drop(Range range) {
  auto at = known_.upper_bound(range.start);
  if (at != known_.begin() && std::prev(at)->extent.range.Overlaps(range)) --at;
  while (at != known_.end() && at->extent.range.start < range.end) {
    Node& node = *at;
    at = known_.erase(at);
    node.next_dropped = std::move(dropped_);
    dropped_.reset(&node);
  }
}

// One by one: a chain of unique_ptr would be freed by recursion.
void ExtentTable::Free(std::unique_ptr<Node> dropped) {
  while (dropped != nullptr) dropped = std::move(dropped->next_dropped);
}

}  // namespace linchpin
