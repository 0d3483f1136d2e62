// NoAllocation: a thread's promise not to allocate or free. Kept by the holders of each mutex that
// the monitor's reader takes. The promise is checked where an allocator asks: the tests replace
// operator new and delete (tests/testing/allocation_check.cc); the library itself never does.
#pragma once

namespace linchpin {

class NoAllocation {
 public:
  static void Enter();
  static void Leave();
  static bool Promised();  // By the calling thread, now.
};

}  // namespace linchpin
