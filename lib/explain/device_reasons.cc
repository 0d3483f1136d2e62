// What the device, or verbs themselves, have against a request before its memory is looked at.
#include <string>

#include "absl/strings/str_cat.h"

#include "lib/explain/reasons.h"

namespace linchpin::internal {
namespace {

// "text; remedy", as our statuses are written.
Diagnosis OfStatus(const absl::Status& status) {
  const std::string message(status.message());
  const std::size_t end = message.find("; ");
  Diagnosis reason;
  reason.code = status.code();
  reason.sentence = message.substr(0, end);
  if (end != std::string::npos) reason.remedy = message.substr(end + 2);
  return reason;
}

// No device has a part in it, and so no rights. As PinVaddr.
void AddFrameOnlyReasons(const ExplainRequest& request, Reasons& reasons) {
  if (!Any(request.access)) return;
  reasons.push_back(OfStatus(absl::InvalidArgumentError(
      "a frame-only pin gives a device no rights; ask for none (LocalRead), or for another kind")));
}

bool IsRxe(const ExplainRequest& request) {
  return request.registrar != nullptr && request.registrar->name().starts_with("rxe");
}

}  // namespace

void AddDeviceReasons(const ExplainRequest& request, Reasons& reasons) {
  // An end before the start is how a wrap-around looks; Of() is told of it as the length it was.
  const std::size_t length = request.range.end - request.range.start;
  const auto range = Range::Of(reinterpret_cast<const void*>(request.range.start), length);
  if (!range.ok()) return reasons.push_back(OfStatus(range.status()));
  if (request.kind == PinKind::kFrameOnly) return AddFrameOnlyReasons(request, reasons);
  if (const absl::Status valid = Validate(request.access); !valid.ok()) {
    return reasons.push_back(OfStatus(valid));
  }
  if (request.registrar == nullptr) return;
  const RegistrarLimits limits = request.registrar->limits();
  const std::string name = request.registrar->name();
  if (request.range.size() > limits.max_region_bytes) {
    Diagnosis reason;
    reason.code = absl::StatusCode::kInvalidArgument;
    reason.sentence =
        absl::StrCat(name, " registers at most ", limits.max_region_bytes,
                     " bytes at once (max_mr_size), and these are ", request.range.size());
    reason.remedy = "register the range in pieces of at most that size";
    reason.offending = request.range;
    reasons.push_back(std::move(reason));
  }
  if (request.kind == PinKind::kOnDemand && !limits.on_demand) {
    Diagnosis reason;
    reason.code = absl::StatusCode::kUnimplemented;
    reason.sentence = absl::StrCat(
        name, " has no on-demand paging for reads and writes on reliable connected transport");
    reason.remedy = "leave out OnDemand, so that the memory is pinned";
    reasons.push_back(std::move(reason));
  }
}

void AddDriverReasons(const ExplainRequest& request, Reasons& reasons) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 30;
  const bool pinned = request.kind == PinKind::kLongterm || request.kind == PinKind::kTransient;
  if (!pinned || !IsRxe(request) || request.range.size() <= kMost) return;
  Diagnosis reason;
  reason.code = absl::StatusCode::kResourceExhausted;
  reason.sentence = absl::StrCat(
      "on some kernels (7.2, not 6.1) soft-RoCE keeps the page list of a registration in one piece "
      "of kernel memory, which is too small beyond ",
      kMost, " bytes, and these are ", request.range.size());
  reason.remedy = "register the range in pieces of at most 1 GiB";
  reason.offending = request.range;
  reason.certain = false;
  reasons.push_back(std::move(reason));
}

}  // namespace linchpin::internal
