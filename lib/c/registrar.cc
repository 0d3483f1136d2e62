// linchpin_registrar_...: the devices that a cache may register with.
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"

#include "lib/c/callback_registrar.h"
#include "lib/c/close_handle.h"
#include "lib/c/guarded.h"
#include "lib/c/handles.h"
#include "lib/c/sized_struct.h"
#include "linchpin/loopback.h"
#include "linchpin/verbs.h"

namespace linchpin::c {
namespace {

constexpr const char* kNoOut = "the out pointer is NULL; there is nowhere to put the registrar";

template <typename Device>
int Hand(absl::StatusOr<std::shared_ptr<Device>> device, linchpin_registrar** out) {
  if (!device.ok()) return Result(device.status());
  *out = new linchpin_registrar{*std::move(device)};
  return 0;
}

}  // namespace
}  // namespace linchpin::c

using linchpin::c::Fail;
using linchpin::c::Guarded;

int linchpin_registrar_open_verbs(struct ibv_pd* pd, linchpin_registrar** out) {
  if (out == nullptr) return Fail(EINVAL, linchpin::c::kNoOut);
  *out = nullptr;
  return Guarded([&] { return linchpin::c::Hand(linchpin::VerbsRegistrar::Create(pd), out); });
}

int linchpin_registrar_open_loopback(linchpin_registrar** out) {
  if (out == nullptr) return Fail(EINVAL, linchpin::c::kNoOut);
  *out = nullptr;
  return Guarded([&] { return linchpin::c::Hand(linchpin::LoopbackDevice::Create(), out); });
}

int linchpin_registrar_open_callbacks(const struct linchpin_callbacks* callbacks, void* context,
                                      linchpin_registrar** out) {
  if (out == nullptr) return Fail(EINVAL, linchpin::c::kNoOut);
  *out = nullptr;
  if (callbacks == nullptr) return Fail(EINVAL, "callbacks is NULL");
  return Guarded([&] {
    linchpin_callbacks known{};
    const int error = linchpin::c::CopyIn(callbacks, "linchpin_callbacks", known);
    if (error != 0) return error;
    if (known.reg == nullptr || known.dereg == nullptr) {
      return Fail(EINVAL, "linchpin_callbacks needs both reg and dereg");
    }
    *out = new linchpin_registrar{std::make_shared<linchpin::c::CallbackRegistrar>(known, context)};
    return 0;
  });
}

int linchpin_registrar_close(linchpin_registrar* registrar) {
  return linchpin::c::CloseHandle(registrar, "registrar");
}
