// What to say of an entry whose address is not known, to whoever needs it.
#pragma once

#include "linchpin/phyr_range.h"

namespace linchpin::internal {

// Requires: the entry has kUnknownAddress. Returns: why, and what to do: "has no address ...; ...".
inline const char* WhyUnknown(const Phyr& entry) {
  if (!entry.Has(PhyrFlags::kDevice)) {
    return "has no address that this process may see; read the list with CAP_SYS_ADMIN";
  }
  return "is a device's memory, whose address no page map shows; give its bus address, with "
         "kBusAddress (a PCI device's is in /sys/bus/pci/devices/*/resource)";
}

}  // namespace linchpin::internal
