// DeviceList: the RDMA devices of this moment. None, where the kernel has no RDMA at all.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <span>

namespace linchpin {

class DeviceList final {
 public:
  DeviceList() : devices_(ibv_get_device_list(&count_)) {}
  ~DeviceList() {
    if (devices_ != nullptr) ibv_free_device_list(devices_);
  }
  DeviceList(const DeviceList&) = delete;
  DeviceList& operator=(const DeviceList&) = delete;

  std::span<ibv_device* const> all() const {
    return {devices_, devices_ != nullptr ? static_cast<std::size_t>(count_) : 0};
  }

 private:
  int count_ = 0;
  ibv_device** const devices_;
};

}  // namespace linchpin
