// ManualMonitor: what the application says, to all listeners.
#include <cstdint>
#include <memory>
#include <utility>

#include "lib/base/process.h"
#include "lib/monitor/abandoned.h"
#include "lib/monitor/listeners.h"
#include "lib/monitor/settled.h"
#include "lib/monitor/survey.h"
#include "linchpin/monitor.h"

namespace linchpin {
namespace {

Coverage ManualCoverage(MappingKind kind) {
  return kind == MappingKind::kAnonymous ? Coverage::kAll : Coverage::kNone;
}

}  // namespace

// In a forked child the mutex may be held for ever by a thread that the child does not have.
class ManualMonitor::Impl final {
 public:
  [[nodiscard]] bool inherited() const { return cookie_ != ProcessCookie(); }
  [[nodiscard]] const std::shared_ptr<Listeners>& listeners() const { return listeners_; }

 private:
  const std::uint64_t cookie_ = ProcessCookie();
  const std::shared_ptr<Listeners> listeners_ = std::make_shared<Listeners>();
};

ManualMonitor::ManualMonitor() : impl_(std::make_unique<Impl>()) {}

ManualMonitor::~ManualMonitor() {
  if (impl_->inherited()) Abandon(impl_->listeners());
}

void ManualMonitor::Changed(Range range) {
  if (!impl_->inherited()) impl_->listeners()->Tell(range);
}

void ManualMonitor::AddListener(Listener* listener) {
  if (!impl_->inherited()) impl_->listeners()->Add(listener);
}

void ManualMonitor::RemoveListener(Listener* listener) {
  if (!impl_->inherited()) impl_->listeners()->Remove(listener);
}

// Nothing is remembered, so every look is a fresh one.
WatchedExtent ManualMonitor::Watch(Range range, bool /*look_again*/) {
  return impl_->inherited() ? Unwatched(range) : SurveyRange(range, ManualCoverage);
}

// Changed() has told all before it returns.
void ManualMonitor::Forget(Range) {}

void ManualMonitor::Settle() {}

MemoryMonitor::Pace ManualMonitor::pace() const {
  return NothingToSettle();
}

absl::Status ManualMonitor::status() const {
  if (!impl_->inherited()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this monitor belongs to the parent process; make a new one in the child");
}

}  // namespace linchpin
