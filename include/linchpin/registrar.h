#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/access.h"
#include "linchpin/range.h"

namespace linchpin {

// The keys by which one device knows a registration.
struct RegistrationKeys {
  std::uint32_t lkey = 0;
  std::uint32_t rkey = 0;
};

// Memory that a registrar has registered: one memory region (MR) on each of its devices. A plain
// record: it is only as alive as its registrar says, and never deregisters by itself.
struct Registration {
  Range range;                         // What the MR covers, byte for byte.
  Access access = Access::kLocalRead;  // What the MR allows.
  std::vector<RegistrationKeys> keys;  // One a device, in the registrar's order; never empty.
  std::uint64_t handle = 0;            // The registrar's own; 0 once deregistered.
};

// What a registrar can do. A field without a known limit holds the largest value of its type.
struct RegistrarLimits {
  std::uint64_t max_regions = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t max_bytes = std::numeric_limits<std::uint64_t>::max();         // All regions.
  std::uint64_t max_region_bytes = std::numeric_limits<std::uint64_t>::max();  // One region.
  std::uint64_t page_sizes = 4096;  // A bit for each page size the device can translate, in bytes.
  bool on_demand = false;           // Access::kOnDemand, on reliable connected transport.
  bool pins_for_writing = false;    // Whatever the rights: read-only memory cannot be registered.
  bool shares_memlock = false;      // RLIMIT_MEMLOCK counts the pins of all the user's processes.
};

// Makes registrations. An interface: bring your own device.
//
// Thread-safety: all calls may be made at once from any threads. The cache calls with no lock of
// its own held, so an implementation may block.
class Registrar {
 public:
  virtual ~Registrar() = default;

  // Registers exactly `range` for `access`.
  // Returns: the registration; otherwise a status that keeps the meaning of the device's errno, so
  // that the cache can act on it: ResourceExhausted for ENOMEM (room is needed), FailedPrecondition
  // for EFAULT (the memory is not there, or not with these rights), PermissionDenied for EPERM,
  // InvalidArgument for EINVAL and for rights the device refuses, Unimplemented for what this
  // device cannot do at all. On error nothing is registered.
  virtual absl::StatusOr<Registration> Register(Range range, Access access) = 0;

  // Undoes Register. Requires: `registration` is a record equal to the one that this registrar
  // returned, and is still registered.
  // Returns: OK, and `registration.handle` is 0; otherwise the device's reason, and whether the
  // memory is still pinned is unknown: the caller must not use or retry it.
  virtual absl::Status Deregister(Registration& registration) = 0;

  virtual RegistrarLimits limits() const = 0;

  // What people call the device: "rxe0", "loopback". Shown by `linchpin pins`.
  virtual std::string name() const { return "registrar"; }
};

}  // namespace linchpin
