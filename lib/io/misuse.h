// What becomes of a call that its caller must not make.
#pragma once

#include <cstdint>
#include <source_location>

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
inline absl::Status Misuse(MisuseIs policy, const char* what,
                           std::source_location place = std::source_location::current()) {
  if (policy == MisuseIs::kFatal) {
    CheckFailed(place.file_name(), static_cast<int>(place.line()), what);
  }
  return absl::FailedPreconditionError(what);
}

}  // namespace linchpin::internal
