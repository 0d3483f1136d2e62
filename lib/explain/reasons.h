// The reasons that speak against a registration, each found by itself; Explain puts them in order.
// A reason is a Diagnosis; one whose code is OK is a warning.
#pragma once

#include <vector>

#include "lib/explain/explain.h"

namespace linchpin::internal {

using Reasons = std::vector<Diagnosis>;

// Rights and lengths that no device takes, or that this one has no room for.
void AddDeviceReasons(const ExplainRequest& request, Reasons& reasons);

// RLIMIT_MEMLOCK, with its arithmetic.
void AddMemlockReasons(const ExplainRequest& request, Reasons& reasons);

// What is mapped, by the pin rules, and where files end.
void AddMemoryReasons(const ExplainRequest& request, Reasons& reasons);

// Known limits of drivers, on which a kernel may or may not have improved: never certain.
void AddDriverReasons(const ExplainRequest& request, Reasons& reasons);

// What may be used up, said only after a ResourceExhausted: never certain.
void AddExhaustionReasons(const ExplainRequest& request, Reasons& reasons);

}  // namespace linchpin::internal
