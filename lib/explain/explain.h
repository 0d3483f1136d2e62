// Explain for whoever knows more than a registrar: of another process, for another kind of pin,
// without a device, or after a refusal.
#pragma once

#include <sys/types.h>

#include "absl/status/status.h"

#include "linchpin/explain.h"
#include "linchpin/pin.h"

namespace linchpin {

struct ExplainRequest {
  Range range;
  Access access = Access::kLocalRead;
  PinKind kind = PinKind::kLongterm;  // Access::kOnDemand makes it kOnDemand.
  pid_t pid = 0;                      // Whose memory it is; 0: this process's.
  // Null: no device is known, so only the mappings, the limits and the kernel have a word. What
  // only a registration could tell is then tried with io_uring, or is uncertain.
  Registrar* registrar = nullptr;
};

// As Explain of explain.h.
Diagnosis Explain(const ExplainRequest& request);

// Returns: `refusal` with its code, and behind its message "; sentence; remedy" of the reason that
// accounts for that code, in place of the errno's usual remedy; unchanged when Linchpin knows none,
// when the registrar has said its reason itself, and when it is OK. Requires: `registrar` gave
// `refusal` for `range` and `access`; no lock is held that it takes.
absl::Status Explained(absl::Status refusal, Range range, Access access, Registrar& registrar);

}  // namespace linchpin
