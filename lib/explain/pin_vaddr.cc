// PinVaddr. Here and not in lib/pin, because its refusals are explained (docs/decisions/0015).
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/explain/explain.h"
#include "lib/pin/pin.h"
#include "linchpin/pin.h"

namespace linchpin {
namespace {

absl::Status Check(const Registrar* registrar, const PinRequest& request) {
  const Range& range = request.range;
  if (range.start > range.end) {
    return absl::InvalidArgumentError(
        absl::StrCat("the range ", range.ToString(), " ends before it starts; pass [start, end)"));
  }
  if (auto checked = Range::Of(reinterpret_cast<const void*>(range.start), range.size());
      !checked.ok()) {
    return checked.status();
  }
  if (request.kind > PinKind::kFrameOnly) {
    return absl::InvalidArgumentError("an unknown kind of pin; use one of PinKind");
  }
  if (absl::Status valid = Validate(request.rights); !valid.ok()) return valid;
  if (request.kind == PinKind::kFrameOnly) {
    if (!Any(request.rights)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "a frame-only pin gives a device no rights; ask for none, or for another kind");
  }
  if (Any(request.rights & Access::kOnDemand) && request.kind != PinKind::kOnDemand) {
    return absl::InvalidArgumentError(
        absl::StrCat("the right OnDemand contradicts the kind ", ToString(request.kind),
                     "; ask for PinKind::kOnDemand, or leave it out"));
  }
  if (registrar != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError("no registrar; pass the device that is to know the memory");
}

// Of a pin that nobody registers.
absl::Status CheckFrames(Range range) {
  ExplainRequest request;
  request.range = range;
  request.kind = PinKind::kFrameOnly;
  const Diagnosis diagnosis = Explain(request);
  if (diagnosis.code == absl::StatusCode::kOk) return absl::OkStatus();
  return {diagnosis.code, diagnosis.ToString()};
}

}  // namespace

absl::StatusOr<VaddrPin> PinVaddr(std::shared_ptr<Registrar> registrar, const PinRequest& request) {
  if (absl::Status valid = Check(registrar.get(), request); !valid.ok()) return valid;
  Registrar* const device = registrar.get();  // The pin keeps it.
  auto made = internal::Pin::Begin(std::move(registrar), request);
  if (!made.ok()) return made.status();
  if (request.kind == PinKind::kFrameOnly) {
    if (absl::Status there = CheckFrames(request.range); !there.ok()) return there;
    return internal::Pin::Publish(*std::move(made));
  }
  const Access access =
      request.kind == PinKind::kOnDemand ? request.rights | Access::kOnDemand : request.rights;
  if (absl::Status registered = (*made)->Register(access); !registered.ok()) {
    return Explained(std::move(registered), request.range, access, *device);
  }
  return internal::Pin::Publish(*std::move(made));
}

}  // namespace linchpin
