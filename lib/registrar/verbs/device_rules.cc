#include "lib/registrar/verbs/device_rules.h"

#include "absl/strings/str_cat.h"

namespace linchpin {
namespace {

// What one-sided operations need of on-demand paging at their target, atomic ones apart.
constexpr std::uint32_t kOneSided = IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ;

constexpr unsigned kWindowFlags =
    IBV_DEVICE_MEM_WINDOW | IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B;

}  // namespace

DeviceRules::DeviceRules(const ibv_device_attr_ex& attributes) {
  const ibv_device_attr& basic = attributes.orig_attr;
  // A device that leaves a field 0 says nothing about it.
  if (basic.max_mr > 0) limits_.max_regions = static_cast<std::uint64_t>(basic.max_mr);
  if (basic.max_mr_size > 0) limits_.max_region_bytes = basic.max_mr_size;
  if (basic.page_size_cap > 0) limits_.page_sizes = basic.page_size_cap;
  memory_windows_ = basic.max_mw > 0 || (basic.device_cap_flags & kWindowFlags) != 0;

  on_demand_paging_ = (attributes.odp_caps.general_caps & IBV_ODP_SUPPORT) != 0;
  if (on_demand_paging_) {
    reliable_on_demand_ = attributes.odp_caps.per_transport_caps.rc_odp_caps;
  }
  limits_.on_demand = (reliable_on_demand_ & kOneSided) == kOneSided;
}

absl::Status DeviceRules::Check(Range range, Access access) const {
  if (range.size() > limits_.max_region_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("registration of ", range.ToString(), ": the device registers at most ",
                     limits_.max_region_bytes,
                     " bytes at once (max_mr_size); register the range in "
                     "pieces of at most that size"));
  }
  if (Any(access & Access::kMwBind) && !memory_windows_) {
    return absl::UnimplementedError(
        absl::StrCat("access ", ToString(access),
                     ": the device has no memory windows; leave out Access::kMwBind"));
  }
  return Any(access & Access::kOnDemand) ? CheckOnDemand(access) : absl::OkStatus();
}

absl::Status DeviceRules::CheckOnDemand(Access access) const {
  const char* lacks = nullptr;
  if (!on_demand_paging_) {
    lacks = "the device has no on-demand paging";
  } else if (!limits_.on_demand) {
    lacks =
        "the device has no on-demand paging for reads and writes on reliable connected transport";
  } else if (Any(access & Access::kRemoteAtomic) &&
             (reliable_on_demand_ & IBV_ODP_SUPPORT_ATOMIC) == 0) {
    lacks = "the device has no on-demand paging for atomic operations";
  }
  if (lacks == nullptr) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat("access ", ToString(access), ": ", lacks,
                                               "; leave out Access::kOnDemand to pin the memory"));
}

}  // namespace linchpin
