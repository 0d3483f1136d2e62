// VerbsPort: a port of an RDMA device that carries traffic, and how a queue pair addresses it.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace linchpin {

struct VerbsPort {
  std::uint8_t number = 0;
  bool by_gid = false;  // RoCE, and InfiniBand without a LID: gid and gid_index are set.
  std::uint16_t lid = 0;
  ibv_gid gid{};
  std::uint8_t gid_index = 0;
  ibv_mtu mtu = IBV_MTU_256;
  std::size_t max_message_bytes = 0;
};

// Returns: the first active port; Unavailable, with what to change, when there is none or it has no
// address. `name` is the device's, for the message.
absl::StatusOr<VerbsPort> FindActivePort(ibv_context* context, const std::string& name);

// Whether the port carries traffic at this moment.
bool IsActive(ibv_context* context, const VerbsPort& port);

// Returns: the entry to use for traffic through `port`: RoCE v2 before v1 (v1 crosses no router),
// and within them an IPv4 address before a link-local one; nullopt when the port has none.
std::optional<ibv_gid_entry> BestGid(std::span<const ibv_gid_entry> entries, std::uint8_t port);

}  // namespace linchpin
