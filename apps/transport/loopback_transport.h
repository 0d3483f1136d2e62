// OpenLoopback: the loopback device as a Device.
#pragma once

#include <memory>

#include "absl/status/statusor.h"

#include "apps/transport/transport.h"

namespace linchpin {

// Returns: the device; Unavailable, with what to change, when the process may not use io_uring.
absl::StatusOr<std::shared_ptr<Device>> OpenLoopback();

}  // namespace linchpin
