#include "apps/transport/verbs_context.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"

namespace linchpin {

absl::StatusOr<std::shared_ptr<const VerbsContext>> VerbsContext::Open(ibv_device* device) {
  auto opened = std::make_shared<VerbsContext>();
  opened->name = ibv_get_device_name(device);
  errno = 0;
  opened->context.reset(ibv_open_device(device));
  if (opened->context == nullptr) {
    return absl::UnavailableError(absl::StrCat(
        "device ", opened->name, " cannot be opened: ", ErrnoText(errno),
        "; load ib_uverbs, and let this user read and write /dev/infiniband/", device->dev_name));
  }
  auto port = FindActivePort(opened->context.get(), opened->name);
  if (!port.ok()) return port.status();
  opened->port = *port;
  if (const int error = ibv_query_device(opened->context.get(), &opened->attributes); error != 0) {
    return ErrnoToStatus(error, absl::StrCat("ibv_query_device of ", opened->name),
                         "check that the device is still there (ibv_devinfo)");
  }
  errno = 0;
  opened->pd.reset(ibv_alloc_pd(opened->context.get()));
  if (opened->pd == nullptr) {
    return ErrnoToStatus(errno, absl::StrCat("ibv_alloc_pd on ", opened->name),
                         "close other users of the device");
  }
  return opened;
}

}  // namespace linchpin
