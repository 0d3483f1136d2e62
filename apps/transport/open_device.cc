// OpenDevice: finds a device by its name, or the best there is.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

#include "apps/transport/device_list.h"
#include "apps/transport/loopback_transport.h"
#include "apps/transport/transport.h"
#include "apps/transport/verbs_device.h"

namespace linchpin {
namespace {

constexpr char kLoopback[] = "loopback";

absl::StatusOr<std::shared_ptr<Device>> OpenBest(const DeviceList& list) {
  std::string reasons;
  for (ibv_device* candidate : list.all()) {
    auto opened = OpenVerbsDevice(candidate);
    if (opened.ok()) return opened;
    absl::StrAppend(&reasons, opened.status().message(), "; and ");
  }
  auto loopback = OpenLoopback();
  if (loopback.ok()) return loopback;
  return absl::UnavailableError(absl::StrCat("no device can be used: ", reasons, kLoopback, ": ",
                                             loopback.status().message()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> OpenDevice(const std::string& name) {
  if (name == kLoopback) return OpenLoopback();
  const DeviceList list;
  if (name.empty()) return OpenBest(list);
  std::string names;
  for (ibv_device* candidate : list.all()) {
    const char* found = ibv_get_device_name(candidate);
    if (name == found) return OpenVerbsDevice(candidate);
    absl::StrAppend(&names, found, ", ");
  }
  return absl::NotFoundError(
      absl::StrCat("no device \"", name, "\"; there are: ", names, kLoopback));
}

}  // namespace linchpin
