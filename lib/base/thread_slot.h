// ThreadSlot: a small number for each thread that asks, unique among the living threads of the
// process and used again when its thread has ended. What a slot stands for (a column of counters,
// say) passes, as it is, from the thread that ended to the next that claims its number.
#pragma once

namespace linchpin {

class ThreadSlot final {
 public:
  static constexpr int kNone = 0;    // Has not claimed one yet.
  static constexpr int kGone = -1;   // Is ending: it had one, and will not get another.
  static constexpr int kEnd = 4096;  // Slots are 1 to kEnd - 1.

  // The calling thread's slot, or kNone or kGone. One memory read.
  static int Current() { return current_; }

  // The calling thread's slot, claimed if it has none: the lowest that is free. kNone when all are
  // taken, kGone in a thread that is ending. What the slot's last owner wrote happens before the
  // return. May allocate, once a thread.
  static int Claim();

  // No slot from this one on has ever been claimed. What a thread writes after it has claimed its
  // slot is ordered after the bound that covers it.
  static int Bound();

 private:
  class AtExit;

  // Initial-exec: a read takes no call of the dynamic linker.
  [[gnu::tls_model("initial-exec")]] static constinit thread_local int current_;
};

}  // namespace linchpin
