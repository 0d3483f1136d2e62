#include "apps/transport/verbs_port.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"

namespace linchpin {
namespace {

// The last resort for a device that tells no limit.
constexpr std::size_t kMessageBytes = std::size_t{1} << 30;

constexpr std::array<std::uint8_t, 12> kIpv4Prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool IsZero(const ibv_gid& gid) {
  return std::all_of(std::begin(gid.raw), std::end(gid.raw), [](auto byte) { return byte == 0; });
}

bool IsIpv4(const ibv_gid& gid) {  // ::ffff:a.b.c.d
  return std::memcmp(gid.raw, kIpv4Prefix.data(), kIpv4Prefix.size()) == 0;
}

int Preference(const ibv_gid_entry& entry) {
  return (entry.gid_type == IBV_GID_TYPE_ROCE_V2 ? 2 : 0) + (IsIpv4(entry.gid) ? 1 : 0);
}

absl::Status SetGid(ibv_context* context, const std::string& name, std::size_t table_size,
                    VerbsPort& port) {
  std::vector<ibv_gid_entry> entries(table_size);
  const ssize_t count = ibv_query_gid_table(context, entries.data(), entries.size(), 0);
  if (count < 0) {
    return ErrnoToStatus(static_cast<int>(-count), absl::StrCat("the GIDs of ", name),
                         "check that the device is still there (ibv_devinfo -v)");
  }
  const auto best = BestGid({entries.data(), static_cast<std::size_t>(count)}, port.number);
  if (!best.has_value()) {
    return absl::UnavailableError(
        absl::StrCat("device ", name, ": port ", port.number,
                     " has no GID; give its network interface an address"));
  }
  port.by_gid = true;
  port.gid = best->gid;
  port.gid_index = static_cast<std::uint8_t>(best->gid_index);
  return absl::OkStatus();
}

}  // namespace

std::optional<ibv_gid_entry> BestGid(std::span<const ibv_gid_entry> entries, std::uint8_t port) {
  std::optional<ibv_gid_entry> best;
  for (const ibv_gid_entry& entry : entries) {
    // A queue pair's address has 8 bits for the index.
    if (entry.port_num != port || entry.gid_index > std::numeric_limits<std::uint8_t>::max() ||
        IsZero(entry.gid)) {
      continue;
    }
    if (!best.has_value() || Preference(entry) > Preference(*best)) best = entry;
  }
  return best;
}

bool IsActive(ibv_context* context, const VerbsPort& port) {
  ibv_port_attr attributes{};
  return ibv_query_port(context, port.number, &attributes) == 0 &&
         attributes.state == IBV_PORT_ACTIVE;
}

absl::StatusOr<VerbsPort> FindActivePort(ibv_context* context, const std::string& name) {
  ibv_device_attr device{};
  if (const int error = ibv_query_device(context, &device); error != 0) {
    return ErrnoToStatus(error, absl::StrCat("ibv_query_device of ", name),
                         "check that the device is still there (ibv_devinfo)");
  }
  std::size_t gids = 0;  // In the tables of all ports, which are read as one.
  std::string states;
  VerbsPort found;
  bool ethernet = false;
  for (std::uint8_t number = 1; number <= device.phys_port_cnt; ++number) {
    ibv_port_attr port{};
    if (ibv_query_port(context, number, &port) != 0) continue;
    gids += static_cast<std::size_t>(std::max(port.gid_tbl_len, 0));
    absl::StrAppend(&states, states.empty() ? "" : ", ", "port ", number, " is ",
                    ibv_port_state_str(port.state));
    if (found.number != 0 || port.state != IBV_PORT_ACTIVE) continue;
    ethernet = port.link_layer == IBV_LINK_LAYER_ETHERNET;
    found = {.number = number, .lid = port.lid, .mtu = port.active_mtu};
    found.max_message_bytes = port.max_msg_sz != 0
                                  ? std::min<std::size_t>(port.max_msg_sz, kMessageBytes)
                                  : kMessageBytes;
  }
  if (found.number == 0) {
    return absl::UnavailableError(absl::StrCat("device ", name, " has no active port (",
                                               states.empty() ? "it has none" : states.c_str(),
                                               "); bring its network interface up (ip link set dev "
                                               "... up), or on InfiniBand start a subnet "
                                               "manager"));
  }
  if (ethernet || found.lid == 0) {
    if (absl::Status set = SetGid(context, name, gids, found); !set.ok()) return set;
  }
  return found;
}

}  // namespace linchpin
