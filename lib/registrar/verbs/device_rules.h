// DeviceRules: what an RDMA device can register, as ibv_query_device_ex tells it, and the reason
// why a request is beyond that.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

#include "absl/status/status.h"

#include "linchpin/access.h"
#include "linchpin/range.h"
#include "linchpin/registrar.h"

namespace linchpin {

class DeviceRules final {
 public:
  explicit DeviceRules(const ibv_device_attr_ex& attributes);

  const RegistrarLimits& limits() const { return limits_; }

  // Returns: OK when nothing the device says of itself speaks against registering `range` for
  // `access`; InvalidArgument for a length beyond its limit; Unimplemented for rights that it has
  // not. Requires: `access` is valid.
  absl::Status Check(Range range, Access access) const;

 private:
  absl::Status CheckOnDemand(Access access) const;

  RegistrarLimits limits_;
  bool memory_windows_ = false;
  bool on_demand_paging_ = false;         // On some transport.
  std::uint32_t reliable_on_demand_ = 0;  // ibv_odp_transport_cap_bits of reliable connected.
};

}  // namespace linchpin
