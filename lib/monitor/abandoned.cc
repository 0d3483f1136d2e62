#include "lib/monitor/abandoned.h"

#include <atomic>
#include <utility>

namespace linchpin {
namespace {

struct Abandoned {
  std::shared_ptr<void> inherited;
  Abandoned* next;
};

std::atomic<Abandoned*> all_abandoned{nullptr};  // Grows only.

}  // namespace

void Abandon(std::shared_ptr<void> inherited) {
  auto* const abandoned = new Abandoned{std::move(inherited), all_abandoned.load()};
  while (!all_abandoned.compare_exchange_weak(abandoned->next, abandoned)) {
  }
}

}  // namespace linchpin
