#include "linchpin/access.h"

#include <infiniband/verbs.h>

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace linchpin {
namespace {

constexpr std::uint32_t Bits(Access access) {
  return static_cast<std::uint32_t>(access);
}

static_assert(Bits(Access::kLocalWrite) == IBV_ACCESS_LOCAL_WRITE);
static_assert(Bits(Access::kRemoteWrite) == IBV_ACCESS_REMOTE_WRITE);
static_assert(Bits(Access::kRemoteRead) == IBV_ACCESS_REMOTE_READ);
static_assert(Bits(Access::kRemoteAtomic) == IBV_ACCESS_REMOTE_ATOMIC);
static_assert(Bits(Access::kMwBind) == IBV_ACCESS_MW_BIND);
static_assert(Bits(Access::kOnDemand) == IBV_ACCESS_ON_DEMAND);
static_assert(Bits(Access::kRelaxedOrdering) == IBV_ACCESS_RELAXED_ORDERING);

constexpr std::array<std::pair<Access, const char*>, 7> kNames{{
    {Access::kLocalWrite, "LocalWrite"},
    {Access::kRemoteWrite, "RemoteWrite"},
    {Access::kRemoteRead, "RemoteRead"},
    {Access::kRemoteAtomic, "RemoteAtomic"},
    {Access::kMwBind, "MwBind"},
    {Access::kOnDemand, "OnDemand"},
    {Access::kRelaxedOrdering, "RelaxedOrdering"},
}};

}  // namespace

std::string ToString(Access access) {
  std::string text;
  for (const auto& [bit, name] : kNames) {
    if (Any(access & bit)) absl::StrAppend(&text, text.empty() ? "" : "|", name);
  }
  if (const Access unknown = access & ~kKnownAccess; Any(unknown)) {
    absl::StrAppend(&text, text.empty() ? "" : "|", absl::StrFormat("0x%x", Bits(unknown)));
  }
  return text.empty() ? "LocalRead" : text;
}

absl::Status Validate(Access access) {
  if (const Access unknown = access & ~kKnownAccess; Any(unknown)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "access has unknown bits 0x%x; use the constants of linchpin::Access", Bits(unknown)));
  }
  const bool peer_writes = Any(access & (Access::kRemoteWrite | Access::kRemoteAtomic));
  if (peer_writes && !Any(access & Access::kLocalWrite)) {
    return absl::InvalidArgumentError(
        absl::StrCat("access ", ToString(access),
                     " lets a peer write what the device itself may not; add Access::kLocalWrite"));
  }
  return absl::OkStatus();
}

}  // namespace linchpin
