#include "lib/monitor/listeners.h"

#include <memory>

namespace linchpin {

Listeners::~Listeners() {
  const MutexLock lock(mutex_);
  nodes_.clear_and_dispose([](Node* node) { delete node; });
}

void Listeners::Add(MemoryMonitor::Listener* listener) {
  auto node = std::make_unique<Node>();
  node->listener = listener;
  const NoAllocationLock lock(mutex_);
  nodes_.push_back(*node.release());
}

void Listeners::Remove(MemoryMonitor::Listener* listener) {
  std::unique_ptr<Node> removed;
  {
    const NoAllocationLock lock(mutex_);
    for (Node& node : nodes_) {
      if (node.listener != listener) continue;
      nodes_.erase(nodes_.iterator_to(node));
      removed.reset(&node);
      break;
    }
  }
}

void Listeners::Tell(Range range) {
  const NoAllocationLock lock(mutex_);
  for (const Node& node : nodes_) node.listener->OnChanged(range);
}

}  // namespace linchpin
