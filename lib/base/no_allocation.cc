#include "lib/base/no_allocation.h"

namespace linchpin {
namespace {

// Without a call of the dynamic linker, which would allocate on a thread's first use of it.
[[gnu::tls_model("initial-exec")]] thread_local int depth = 0;

}  // namespace

void NoAllocation::Enter() {
  ++depth;
}
void NoAllocation::Leave() {
  --depth;
}
bool NoAllocation::Promised() {
  return depth > 0;
}

}  // namespace linchpin
