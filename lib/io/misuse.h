// What becomes of a call that its caller must not make.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "lib/base/check.h"

namespace linchpin::internal {

enum class MisuseIs : std::uint8_t { kFatal, kError };

#ifdef NDEBUG
inline constexpr MisuseIs kMisuse = MisuseIs::kError;
#else
inline constexpr MisuseIs kMisuse = MisuseIs::kFatal;
#endif

// Aborts with `what`, or returns it as FailedPrecondition.
inline absl::Status Misuse(MisuseIs policy, const char* what) {
  if (policy == MisuseIs::kFatal) CheckFailed(__FILE__, __LINE__, what);
  return absl::FailedPreconditionError(what);
}

}  // namespace linchpin::internal
