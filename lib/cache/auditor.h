// Auditor: what a cache needs to compare frames: which pages, and an open page map.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "lib/pin/frame_sample.h"
#include "lib/pin/page_frames.h"
#include "linchpin/cache.h"
#include "linchpin/range.h"

namespace linchpin::internal {

// Thread-safety: all calls may be made at once from any threads, with no lock held.
class Auditor final {
 public:
  // kDefault: as the environment says. When frames cannot be read, a line in the log says what to
  // do, once a process.
  explicit Auditor(Audit wanted);

  // Whether frames are compared; constant. Asked for by every hit.
  bool on() const { return on_; }
  // Whether they would be, if this process might see them.
  bool refused() const { return refused_; }

  // Requires: on(). The range is registered.
  std::unique_ptr<FrameSample> Sample(Range range, bool private_pages) const {
    return std::make_unique<FrameSample>(map_, range, private_pages);
  }
  FrameSample::Comparison Compare(const FrameSample& then, Range asked) const {
    return then.Compare(map_, asked, pages_);
  }

  // How many hits were compared.
  std::uint64_t audits() const { return audits_.load(std::memory_order_relaxed); }
  void CountAudit() { audits_.fetch_add(1, std::memory_order_relaxed); }

  // Writes the first finding of the cache to the log.
  void LogOnce(const AuditFinding& finding);

 private:
  PageMap map_;
  FrameSample::Pages pages_ = FrameSample::Pages::kEnds;
  bool on_ = false;
  bool refused_ = false;
  std::atomic<std::uint64_t> audits_ = 0;
  std::atomic<bool> logged_ = false;
};

}  // namespace linchpin::internal
