// Asks libibverbs directly: a device that cannot be used has to be shown too.
#include <infiniband/verbs.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/doctor/check.h"
#include "lib/base/error.h"
#include "linchpin/loopback.h"

namespace linchpin {
namespace {

struct CloseDevice {
  void operator()(ibv_context* context) const { ibv_close_device(context); }
};
struct FreeDeviceList {
  void operator()(ibv_device** list) const { ibv_free_device_list(list); }
};

Check CheckLoopback() {
  Check check = Check::Of("device loopback");
  const absl::StatusOr<std::shared_ptr<LoopbackDevice>> device = LoopbackDevice::Create();
  if (!device.ok()) {
    check.state = CheckState::kWarning;
    check.detail = "cannot be used";
    check.remedy = std::string(device.status().message());
    return check;
  }
  check.detail =
      absl::StrFormat("io_uring registered buffers, %d regions of at most %d bytes",
                      (*device)->limits().max_regions, (*device)->limits().max_region_bytes);
  return check;
}

std::string LinkLayer(const ibv_port_attr& port) {
  return port.link_layer == IBV_LINK_LAYER_ETHERNET ? "Ethernet" : "InfiniBand";
}

// How many bytes of payload the port carries in a packet.
int MtuBytes(ibv_mtu mtu) {
  return 128 << static_cast<int>(mtu);
}

Check CheckPorts(ibv_context* context, const std::string& name, const ibv_device_attr& attributes) {
  Check check = Check::Of("device " + name);
  bool active = false;
  for (unsigned number = 1; number <= attributes.phys_port_cnt; ++number) {
    ibv_port_attr port{};
    absl::StrAppend(&check.detail, number == 1 ? "" : ", ", "port ", number, " ");
    const int error = ibv_query_port(context, static_cast<std::uint8_t>(number), &port);
    if (error != 0) {
      absl::StrAppend(&check.detail, "cannot be queried: ", ErrnoText(error));
      continue;
    }
    active = active || port.state == IBV_PORT_ACTIVE;
    absl::StrAppend(&check.detail, ibv_port_state_str(port.state), " (", LinkLayer(port), ", mtu ",
                    MtuBytes(port.active_mtu), ", ", port.gid_tbl_len, " GID entries)");
  }
  if (!active) {
    check.state = CheckState::kWarning;
    check.remedy = "bring its network interface up (ip link set dev IFACE up), or its cable in";
  }
  return check;
}

Check CheckLimits(const std::string& name, const ibv_device_attr& attributes) {
  Check check = Check::Of("limits " + name);
  // Some drivers say that a region may have nearly every size there is.
  const std::string most = attributes.max_mr_size >= (std::uint64_t{1} << 63)
                               ? "without a limit"
                               : absl::StrCat("of at most ", attributes.max_mr_size, " bytes");
  check.detail = absl::StrFormat("max_mr %d regions, each %s (max_mr_size); max_qp_wr %d",
                                 attributes.max_mr, most, attributes.max_qp_wr);
  if (attributes.max_mr < 1024) {
    check.state = CheckState::kWarning;
    check.remedy = "raise the number of memory regions in the driver's or firmware's settings";
  }
  return check;
}

// Appends the checks of one RDMA device. Returns: whether it can be used.
bool CheckRdmaDevice(ibv_device* device, std::vector<Check>& checks) {
  const std::string name = ibv_get_device_name(device);
  const auto failed = [&](const std::string& what, int error) {
    checks.push_back({.name = "device " + name,
                      .state = CheckState::kWarning,
                      .detail = what + ": " + ErrnoText(error),
                      .remedy = "check the permissions of /dev/infiniband/uverbs* and the "
                                "container's device list"});
    return false;
  };
  errno = 0;
  const std::unique_ptr<ibv_context, CloseDevice> context(ibv_open_device(device));
  if (context == nullptr) return failed("cannot be opened", errno);
  ibv_device_attr attributes{};
  const int error = ibv_query_device(context.get(), &attributes);
  if (error != 0) return failed("cannot be queried", error);
  checks.push_back(CheckPorts(context.get(), name, attributes));
  const bool usable = checks.back().state == CheckState::kOk;
  checks.push_back(CheckLimits(name, attributes));
  return usable;
}

}  // namespace

std::vector<Check> CheckDevices() {
  std::vector<Check> checks{CheckLoopback()};
  int usable = checks.back().state == CheckState::kOk ? 1 : 0;
  int found = 0;
  errno = 0;
  const std::unique_ptr<ibv_device*, FreeDeviceList> list(ibv_get_device_list(&found));
  const int error = list == nullptr ? errno : 0;
  for (int i = 0; list != nullptr && i < found; ++i) {
    if (CheckRdmaDevice(list.get()[i], checks)) ++usable;
  }
  Check devices = Check::Of("devices");
  devices.detail = absl::StrFormat("%d RDMA and the loopback; %d usable", found, usable);
  if (found == 0) {
    devices.state = CheckState::kWarning;
    devices.remedy = error != 0 && error != ENOSYS
                         ? "libibverbs: " + ErrnoText(error)
                         : "load the driver of the RDMA hardware, or make a soft-RoCE device: "
                           "modprobe rdma_rxe && rdma link add rxe0 type rxe netdev IFACE";
  }
  if (usable == 0) devices.state = CheckState::kProblem;
  if (usable == 0 && devices.remedy.empty()) devices.remedy = "make one of the devices usable";
  checks.insert(checks.begin(), devices);
  return checks;
}

}  // namespace linchpin
