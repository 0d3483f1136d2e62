#include "lib/explain/explain.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/explain/reasons.h"

namespace linchpin {
namespace {

using internal::Reasons;

// In the order in which the kernel checks, so that the first is what it answers with.
Reasons Examine(const ExplainRequest& request) {
  Reasons reasons;
  internal::AddDeviceReasons(request, reasons);
  if (!reasons.empty()) return reasons;  // The range may be no range at all.
  internal::AddMemlockReasons(request, reasons);
  internal::AddMemoryReasons(request, reasons);
  internal::AddDriverReasons(request, reasons);
  return reasons;
}

ExplainRequest Normalised(ExplainRequest request) {
  if (Any(request.access & Access::kOnDemand)) request.kind = PinKind::kOnDemand;
  if (request.kind == PinKind::kOnDemand) request.access = request.access | Access::kOnDemand;
  return request;
}

Diagnosis NothingSpeaksAgainst(const ExplainRequest& request) {
  Diagnosis diagnosis;
  diagnosis.sentence = absl::StrCat("nothing speaks against registering ", request.range.ToString(),
                                    " for ", ToString(request.access));
  if (request.kind == PinKind::kFrameOnly) {
    diagnosis.sentence =
        absl::StrCat("nothing speaks against looking at the frames of ", request.range.ToString());
  }
  return diagnosis;
}

// A certain refusal, else an uncertain one, else a warning.
const Diagnosis* Weightiest(const Reasons& reasons) {
  const auto find = [&reasons](auto condition) -> const Diagnosis* {
    const auto found = std::find_if(reasons.begin(), reasons.end(), condition);
    return found != reasons.end() ? &*found : nullptr;
  };
  const auto is_refusal = [](const Diagnosis& reason) {
    return reason.code != absl::StatusCode::kOk;
  };
  const Diagnosis* reason =
      find([is_refusal](const Diagnosis& one) { return is_refusal(one) && one.certain; });
  if (reason == nullptr) reason = find(is_refusal);
  return reason != nullptr || reasons.empty() ? reason : &reasons.front();
}

// A registrar that did not ask the kernel has said what it minds: rights, or memory that it may not
// register on demand, to which the kernel has nothing to say before the device gets there.
bool HasSaidItsReason(const absl::Status& refusal, Access access) {
  const bool of_memory =
      refusal.code() == absl::StatusCode::kFailedPrecondition && Any(access & Access::kOnDemand);
  if (!of_memory && refusal.code() != absl::StatusCode::kInvalidArgument &&
      refusal.code() != absl::StatusCode::kUnimplemented) {
    return false;
  }
  const absl::string_view message = refusal.message();
  return std::string(message).find(": E") == std::string::npos;
}

}  // namespace

std::string Diagnosis::ToString() const {
  return remedy.empty() ? sentence : absl::StrCat(sentence, "; ", remedy);
}

Diagnosis Explain(const ExplainRequest& asked) {
  const ExplainRequest request = Normalised(asked);
  const Reasons reasons = Examine(request);
  const Diagnosis* const reason = Weightiest(reasons);
  return reason != nullptr ? *reason : NothingSpeaksAgainst(request);
}

Diagnosis Explain(Range range, Access access, Registrar& registrar) {
  return Explain(ExplainRequest{.range = range, .access = access, .registrar = &registrar});
}

absl::Status Explained(absl::Status refusal, Range range, Access access, Registrar& registrar) {
  if (refusal.ok() || HasSaidItsReason(refusal, access)) return refusal;
  const ExplainRequest request =
      Normalised({.range = range, .access = access, .registrar = &registrar});
  Reasons reasons = Examine(request);
  if (absl::IsResourceExhausted(refusal)) internal::AddExhaustionReasons(request, reasons);
  for (const Diagnosis& reason : reasons) {
    if (reason.code != refusal.code()) continue;
    const absl::Status bare = WithoutUsualRemedy(refusal);
    return {refusal.code(), absl::StrCat(bare.message(), "; ", reason.ToString())};
  }
  return refusal;
}

}  // namespace linchpin
