// Barrier: an asymmetric pair of fences. The light side is on every hit and costs nothing; the
// heavy side, before a registration is taken back, makes every running thread pass a full fence.
//
// For two threads that each store and then load what the other stores, with Light() between the two
// on one side and Heavy() on the other, at least one sees the other's store. The pair is that of
// membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED; where the kernel or a seccomp profile refuses
// it, both sides are seq_cst fences.
#pragma once

#include <atomic>

namespace linchpin {

class Barrier final {
 public:
  // Registers the process for membarrier, once a process; a forked child inherits that.
  Barrier();

  [[nodiscard]] bool asymmetric() const { return asymmetric_; }

  void Light() const {
    if (asymmetric_) {
      std::atomic_signal_fence(std::memory_order_seq_cst);  // Binds the compiler alone.
    } else {
      Fence();
    }
  }

  void Heavy() const;

  // From now on, new barriers are pairs of fences, as where membarrier is refused.
  static void RefuseForTest(bool refuse);

  static void Fence();  // What both sides are where membarrier is refused.

 private:
  bool asymmetric_;
};

}  // namespace linchpin
