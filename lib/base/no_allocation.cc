#include "lib/base/no_allocation.h"

namespace linchpin {
namespace {

thread_local int depth = 0;

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
