// UserfaultMonitor: puts the parts together, and keeps a forked child from using them.
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"

#include "lib/base/process.h"
#include "lib/monitor/abandoned.h"
#include "lib/monitor/arming.h"
#include "lib/monitor/event_reader.h"
#include "lib/monitor/extent_table.h"
#include "lib/monitor/listeners.h"
#include "lib/monitor/reuse_time.h"
#include "lib/monitor/survey.h"
#include "lib/monitor/userfault.h"
#include "linchpin/monitor.h"

namespace linchpin {
namespace {

// Destroyed in reverse: the reader is the last made and the first to go.
struct Parts {
  explicit Parts(Userfault made) : userfault(std::move(made)) {}

  Userfault userfault;
  ExtentTable extents;
  Listeners listeners;
  EventReader reader{userfault, extents, listeners};
  Arming arming{userfault, extents, reader};
};

// In a forked child nothing of the parts is touched: a mutex may be held for ever by a thread that
// the child does not have, a list may be half changed, and the descriptor watches the parent.
class Monitor final : public MemoryMonitor {
 public:
  explicit Monitor(std::shared_ptr<Parts> parts) : parts_(std::move(parts)) {}
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  ~Monitor() override {
    if (inherited()) {
      parts_->userfault.Close();  // After a raw clone; else the fork handler did.
      Abandon(std::move(parts_));
      return;
    }
    parts_->arming.DisarmAll();
    if (!parts_->reader.Stop()) Abandon(std::move(parts_));
  }

  void AddListener(Listener* listener) override {
    if (!inherited()) parts_->listeners.Add(listener);
  }

  void RemoveListener(Listener* listener) override {
    if (!inherited()) parts_->listeners.Remove(listener);
  }

  WatchedExtent Watch(Range range, bool look_again) override {
    return inherited() ? Unwatched(range) : parts_->arming.Watch(range, look_again);
  }

  void Forget(Range range) override {
    if (!inherited()) parts_->extents.Changed(range);
  }

  void Settle() override {
    if (!inherited()) parts_->reader.Settle();
  }

  Pace pace() const override { return {&parts_->reader.epoch(), ReuseTime()}; }

  absl::Status status() const override {
    if (inherited()) {
      return absl::FailedPreconditionError(
          "this monitor watches the parent process; call MemoryMonitor::Shared() in the child");
    }
    if (parts_->reader.failed()) {
      return absl::UnavailableError(
          "memory is no longer watched: the userfaultfd was closed from outside the library; close "
          "only descriptors that the application opened, and make the monitor anew");
    }
    return absl::OkStatus();
  }

 private:
  [[nodiscard]] bool inherited() const { return cookie_ != ProcessCookie(); }

  const std::uint64_t cookie_ = ProcessCookie();
  std::shared_ptr<Parts> parts_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<MemoryMonitor>> UserfaultMonitor::Create() {
  auto userfault = Userfault::Create();
  if (!userfault.ok()) return userfault.status();
  auto parts = std::make_shared<Parts>(*std::move(userfault));
  if (absl::Status status = parts->reader.Start(); !status.ok()) return status;
  return std::make_shared<Monitor>(std::move(parts));
}

}  // namespace linchpin
