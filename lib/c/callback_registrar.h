// CallbackRegistrar: a device that is two C functions of the application.
#pragma once

#include "linchpin/c.h"
#include "linchpin/registrar.h"

namespace linchpin::c {

// Thread-safety: immutable, so as safe as the functions.
class CallbackRegistrar final : public Registrar {
 public:
  // Requires: `callbacks` is complete, with both functions set.
  CallbackRegistrar(const linchpin_callbacks& callbacks, void* context)
      : callbacks_(callbacks), context_(context) {}

  absl::StatusOr<Registration> Register(Range range, Access access) override;
  absl::Status Deregister(Registration& registration) override;
  RegistrarLimits limits() const override;

 private:
  const linchpin_callbacks callbacks_;
  void* const context_;
};

}  // namespace linchpin::c
