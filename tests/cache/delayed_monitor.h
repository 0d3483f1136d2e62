// DelayedMonitor: a monitor at the pace of the real one whose reader is as late as can be.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "lib/base/mutex.h"
#include "linchpin/monitor.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {

// Reads what was queued only when someone settles; by itself it is as late as can be.
class DelayedMonitor final : public MemoryMonitor {
 public:
  explicit DelayedMonitor(std::optional<std::chrono::nanoseconds> interval)
      : pace_(interval.has_value() ? Pace{&epoch_, *interval} : Pace{}) {}

  void set_coverage(Coverage coverage) { coverage_ = coverage; }

  // Around a real munmap, as in the kernel: it is outstanding before the address is free.
  void BeginUnmapping() { ++outstanding_; }
  void EndUnmapping(Range range) {
    const MutexLock lock(mutex_);
    queued_.push_back(range);
    --outstanding_;
  }

  // The reader has taken notice, and is slow to tell.
  void TakeNotice() { ++epoch_; }
  void Tell(Range range) {
    listener_->OnChanged(range);
    ++epoch_;
  }

  int settled() const { return settled_; }

  void AddListener(Listener* listener) override { listener_ = listener; }
  void RemoveListener(Listener* listener) override {
    if (listener_ == listener) listener_ = nullptr;
  }
  WatchedExtent Watch(Range range, bool) override {
    WatchedExtent extent;
    extent.range = {range.start & ~(kPage - 1), (range.end + kPage - 1) & ~(kPage - 1)};
    extent.uniform = true;
    extent.coverage = coverage_;
    return extent;
  }
  void Forget(Range) override {}
  void Settle() override {
    ++settled_;
    while (outstanding_ != 0 || epoch_ % 2 != 0) std::this_thread::yield();
    const MutexLock lock(mutex_);
    if (queued_.empty()) return;
    ++epoch_;
    for (const Range& range : queued_) listener_->OnChanged(range);
    queued_.clear();
    ++epoch_;
  }
  Pace pace() const override { return pace_; }
  absl::Status status() const override { return absl::OkStatus(); }

 private:
  std::atomic<std::uint64_t> epoch_{0};
  const Pace pace_;
  Coverage coverage_ = Coverage::kAll;
  Listener* listener_ = nullptr;
  std::atomic<int> settled_ = 0;
  std::atomic<int> outstanding_ = 0;
  Mutex mutex_;
  std::vector<Range> queued_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace linchpin::testing
