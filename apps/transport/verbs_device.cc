#include "apps/transport/verbs_device.h"

#include <string>
#include <utility>

#include "apps/transport/verbs_context.h"
#include "apps/transport/verbs_transport.h"
#include "linchpin/verbs.h"

namespace linchpin {
namespace {

// A registrar uses the protection domain but does not own it. Whoever holds the registrar that
// KeepOpen gives holds both, and lets go of the registrar first.
struct OpenRegistrar {
  std::shared_ptr<const VerbsContext> device;
  std::shared_ptr<Registrar> registrar;
};

std::shared_ptr<Registrar> KeepOpen(OpenRegistrar open) {
  auto kept = std::make_shared<OpenRegistrar>(std::move(open));
  Registrar* registrar = kept->registrar.get();
  return {std::move(kept), registrar};
}

class VerbsDevice final : public Device {
 public:
  VerbsDevice(std::shared_ptr<const VerbsContext> device, std::shared_ptr<Registrar> registrar)
      : device_(std::move(device)), registrar_(std::move(registrar)) {}

  const std::string& name() const override { return device_->name; }
  std::shared_ptr<Registrar> registrar() const override { return registrar_; }
  absl::StatusOr<std::unique_ptr<Transport>> Connect() override {
    return VerbsTransport::Create(device_, registrar_);
  }

 private:
  const std::shared_ptr<const VerbsContext> device_;
  const std::shared_ptr<Registrar> registrar_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Device>> OpenVerbsDevice(ibv_device* device) {
  auto opened = VerbsContext::Open(device);
  if (!opened.ok()) return opened.status();
  auto registrar = VerbsRegistrar::Create((*opened)->pd.get());
  if (!registrar.ok()) return registrar.status();
  return std::make_shared<VerbsDevice>(
      *opened, KeepOpen({.device = *opened, .registrar = *std::move(registrar)}));
}

}  // namespace linchpin
