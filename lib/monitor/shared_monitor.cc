// MemoryMonitor::Shared(): the process's own monitor, one at a time.
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"

#include "lib/base/mutex.h"
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

// Where a process finds its monitor. A forked child makes a registry of its own: the mutex of the
// one it inherits may be held for ever.
struct Registry {
  std::uint64_t cookie = 0;
  Registry* previous = nullptr;  // The parent's, kept reachable.

  // Not taken by the monitor's reader: held while a monitor is made.
  Mutex mutex;
  CondVar gone;
  std::weak_ptr<MemoryMonitor> monitor ABSL_GUARDED_BY(mutex);
  // From its making until it is destroyed, which is later than the end of `monitor`: a second one
  // could not watch what the first has not yet disarmed.
  bool exists ABSL_GUARDED_BY(mutex) = false;
};

std::atomic<Registry*> newest_registry{nullptr};

Registry& OwnRegistry() {
  Registry* newest = newest_registry.load(std::memory_order_acquire);
  while (newest == nullptr || newest->cookie != ProcessCookie()) {
    auto made = std::make_unique<Registry>();
    made->cookie = ProcessCookie();
    made->previous = newest;
    if (newest_registry.compare_exchange_strong(newest, made.get(), std::memory_order_acq_rel)) {
      newest = made.release();
    }
  }
  return *newest;
}

std::shared_ptr<MemoryMonitor> Make() {
  auto monitor = UserfaultMonitor::Create();
  if (monitor.ok()) return *std::move(monitor);
  return std::make_shared<UnwatchedMonitor>(monitor.status());
}

}  // namespace

std::shared_ptr<MemoryMonitor> MemoryMonitor::Shared() {
  Registry& registry = OwnRegistry();
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
