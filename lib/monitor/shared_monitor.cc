// MemoryMonitor::Shared(): the process's own monitor, one at a time.
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"

#include "lib/base/mutex.h"
#include "lib/base/of_process.h"
#include "lib/base/process.h"
#include "lib/monitor/settled.h"
#include "lib/monitor/survey.h"
#include "linchpin/monitor.h"

namespace linchpin {
namespace {

// Watches nothing, and says why.
class UnwatchedMonitor final : public MemoryMonitor {
 public:
  explicit UnwatchedMonitor(absl::Status reason) : reason_(std::move(reason)) {}

  void AddListener(Listener*) override {}
  void RemoveListener(Listener*) override {}
  WatchedExtent Watch(Range range, bool) override {
    return SurveyRange(range, [](MappingKind) { return Coverage::kNone; });
  }
  void Forget(Range) override {}
  void Settle() override {}
  Pace pace() const override { return NothingToSettle(); }
  absl::Status status() const override { return reason_; }

 private:
  const absl::Status reason_;
};

// Where a process finds its monitor.
struct Registry {
  const std::uint64_t cookie = ProcessCookie();

  // Not taken by the monitor's reader: held while a monitor is made.
  Mutex mutex;
  CondVar gone;
  std::weak_ptr<MemoryMonitor> monitor ABSL_GUARDED_BY(mutex);
  // From its making until it is destroyed, which is later than the end of `monitor`: a second one
  // could not watch what the first has not yet disarmed.
  bool exists ABSL_GUARDED_BY(mutex) = false;
};

constinit OfProcess<Registry> own_registry;

std::shared_ptr<MemoryMonitor> Make() {
  auto monitor = UserfaultMonitor::Create();
  if (monitor.ok()) return *std::move(monitor);
  return std::make_shared<UnwatchedMonitor>(monitor.status());
}

}  // namespace

std::shared_ptr<MemoryMonitor> MemoryMonitor::Shared() {
  Registry& registry = own_registry.Get();
  const MutexLock lock(registry.mutex);
  for (;;) {
    if (auto monitor = registry.monitor.lock()) return monitor;
    if (!registry.exists) break;
    registry.gone.Wait(registry.mutex);
  }
  std::shared_ptr<MemoryMonitor> made = Make();
  MemoryMonitor* const address = made.get();
  auto destroy = [&registry, made = std::move(made)](MemoryMonitor*) mutable {
    made.reset();
    if (registry.cookie != ProcessCookie()) return;
    const MutexLock destroyed(registry.mutex);
    registry.exists = false;
    registry.gone.NotifyAll();
  };
  std::shared_ptr<MemoryMonitor> shared(address, std::move(destroy));
  registry.monitor = shared;
  registry.exists = true;
  return shared;
}

}  // namespace linchpin
