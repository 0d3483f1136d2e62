// OpenVerbsDevice: an RDMA device as a Device.
#pragma once

#include <infiniband/verbs.h>

#include <memory>

#include "absl/status/statusor.h"

#include "apps/transport/transport.h"

namespace linchpin {

// Returns: the device, opened; Unavailable, with what to change, when it cannot be used.
absl::StatusOr<std::shared_ptr<Device>> OpenVerbsDevice(ibv_device* device);

}  // namespace linchpin
