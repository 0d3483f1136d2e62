// Abandon: what a forked child inherits and can neither use nor take apart, because another thread
// may have been changing it at the moment of the fork. It is left as it is, but not lost: reachable
// for a leak checker.
#pragma once

#include <memory>

namespace linchpin {

void Abandon(std::shared_ptr<void> inherited);

}  // namespace linchpin
