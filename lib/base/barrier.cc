#include "lib/base/barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/check.h"

namespace linchpin {
namespace {

std::atomic<bool> refused_for_test{false};

bool Membarrier(int command) {
  return syscall(SYS_membarrier, command, 0, 0) == 0;
}

}  // namespace

Barrier::Barrier()
    : asymmetric_(!refused_for_test && Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)) {}

void Barrier::Heavy() const {
  if (!asymmetric_) return Fence();
  // It fails for a process that did not register, and in no other way.
  LINCHPIN_CHECK(Membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED));
}

void Barrier::RefuseForTest(bool refuse) {
  refused_for_test = refuse;
}

// ThreadSanitizer does not know fences; an exchange that everybody makes orders as much.
void Barrier::Fence() {
#ifdef __SANITIZE_THREAD__
  static std::atomic<int> everybodys{0};
  everybodys.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace linchpin
