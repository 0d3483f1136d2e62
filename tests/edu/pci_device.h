// PCI devices as sysfs shows them, for drivers in user space.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace linchpin::testing {

// The folders of all devices of a kind, such as "0x1234" and "0x11e8", in the order of their slots.
std::vector<std::string> FindPciDevices(std::string_view vendor, std::string_view device);

// Lets a device answer to accesses, or no more. The kernel counts: it does while more have switched
// it on than off.
absl::Status EnablePciDevice(const std::string& folder, bool on);

}  // namespace linchpin::testing
