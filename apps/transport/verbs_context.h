// VerbsContext: an RDMA device that was opened, with a protection domain and an active port.
#pragma once

#include <infiniband/verbs.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

#include "apps/transport/verbs_handle.h"
#include "apps/transport/verbs_port.h"

namespace linchpin {

// Shared by all that uses the device, so that it is closed after the last of them. The members are
// destroyed from the last to the first, as verbs want it.
struct VerbsContext {
  std::string name;
  ContextPtr context;
  PdPtr pd;
  ibv_device_attr attributes{};
  VerbsPort port;

  // Returns: the device, opened; Unavailable, with what to change, when it has no active port or
  // may not be opened.
  static absl::StatusOr<std::shared_ptr<const VerbsContext>> Open(ibv_device* device);
};

}  // namespace linchpin
