// Who may pin how much: the kernel's arithmetic, done again.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"

#include "lib/explain/reasons.h"
#include "lib/memory/mapping.h"
#include "lib/memory/pin_limits.h"

namespace linchpin::internal {
namespace {

constexpr const char* kRaise =
    "raise it (ulimit -l, memlock in /etc/security/limits.conf, LimitMEMLOCK= of a systemd unit, "
    "--ulimit memlock=-1 of a container), grant CAP_IPC_LOCK, or hold fewer or smaller "
    "registrations";

bool Pins(const ExplainRequest& request) {
  return request.kind == PinKind::kLongterm || request.kind == PinKind::kTransient;
}

RegistrarLimits LimitsOf(const ExplainRequest& request) {
  return request.registrar != nullptr ? request.registrar->limits() : RegistrarLimits{};
}

// Whole pages, whether or not they are pinned already.
std::uint64_t Charge(Range range) {
  const std::uint64_t page = BasePageSize();
  const std::uint64_t first = range.start / page;
  const std::uint64_t last = (range.end - 1) / page;
  return (last - first + 1) * page;
}

// Who pins, how much is asked for, and how much there is.
std::string Arithmetic(const PinLimits& limits, std::uint64_t needed) {
  return absl::StrCat(limits.process, " needs ", needed, " more bytes pinned and has ",
                      limits.pinned_bytes, ", of the ", limits.memlock_bytes,
                      " that RLIMIT_MEMLOCK allows without CAP_IPC_LOCK");
}

Diagnosis Exhausted(std::string sentence, std::string remedy) {
  Diagnosis reason;
  reason.code = absl::StatusCode::kResourceExhausted;
  reason.sentence = std::move(sentence);
  reason.remedy = std::move(remedy);
  return reason;
}

}  // namespace

void AddMemlockReasons(const ExplainRequest& request, Reasons& reasons) {
  if (!Pins(request)) return;
  const PinLimits limits = ReadPinLimits(request.pid);
  if (limits.exempt) return;
  const std::uint64_t needed = Charge(request.range);
  if (limits.memlock_bytes == 0 && !LimitsOf(request).shares_memlock) {
    Diagnosis reason;
    reason.code = absl::StatusCode::kPermissionDenied;
    reason.sentence = absl::StrCat("RLIMIT_MEMLOCK of ", limits.process,
                                   " is 0, and it has no CAP_IPC_LOCK: it may pin nothing");
    reason.remedy = kRaise;
    return reasons.push_back(std::move(reason));
  }
  const std::uint64_t left =
      limits.memlock_bytes - std::min(limits.memlock_bytes, limits.pinned_bytes);
  if (needed <= left) return;
  reasons.push_back(Exhausted(Arithmetic(limits, needed), kRaise));
  reasons.back().offending = request.range;
}

void AddExhaustionReasons(const ExplainRequest& request, Reasons& reasons) {
  if (!Pins(request)) return;
  const auto is_exhaustion = [](const Diagnosis& reason) {
    return reason.code == absl::StatusCode::kResourceExhausted;
  };
  if (std::any_of(reasons.begin(), reasons.end(), is_exhaustion)) return;
  const PinLimits limits = ReadPinLimits(request.pid);
  const RegistrarLimits device = LimitsOf(request);
  const std::uint64_t needed = Charge(request.range);
  if (needed > limits.machine_bytes) {
    reasons.push_back(Exhausted(
        absl::StrCat(needed,
                     " bytes were to be pinned, and the machine, or the process's cgroup, "
                     "has ",
                     limits.machine_bytes),
        "register less at once, or raise memory.max of the cgroup"));
  } else if (device.shares_memlock && !limits.exempt && limits.memlock_bytes != UINT64_MAX) {
    reasons.push_back(Exhausted(
        absl::StrCat(Arithmetic(limits, needed),
                     "; that would do, but this device counts what all processes of the user have "
                     "pinned together"),
        kRaise));
  } else if (device.max_regions != RegistrarLimits{}.max_regions) {
    reasons.push_back(Exhausted(
        absl::StrCat("RLIMIT_MEMLOCK leaves room, so the device's ", device.max_regions,
                     " registrations (max_mr, all processes together) or the kernel's memory are "
                     "used up"),
        "see `rdma resource show mr`; hold fewer, larger registrations"));
  }
  if (!reasons.empty()) reasons.back().certain = false;
}

}  // namespace linchpin::internal
