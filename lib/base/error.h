// Turns an errno value into a status that names the range, the errno, and what to do about it.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

#include "linchpin/range.h"

namespace linchpin {

// "EFAULT"; "errno 1234" for a value without a name.
std::string ErrnoName(int error);

// "EFAULT (Bad address)".
std::string ErrnoText(int error);

// Returns: a status whose code keeps the meaning that registrar.h promises: ENOMEM and friends are
// ResourceExhausted, EFAULT is FailedPrecondition, EPERM and EACCES PermissionDenied, EINVAL
// InvalidArgument, EOPNOTSUPP and ENOSYS Unimplemented, all else Internal. The message is
// "`what`: EFAULT (Bad address); `remedy`".
absl::Status ErrnoToStatus(int error, std::string_view what, std::string_view remedy);

// The same for a range that could not be registered: the message names the range, and the remedy is
// the usual one for that errno.
absl::Status RegistrationError(int error, std::string_view what, Range range);

// For whoever knows the very reason, and what to do about that. Returns: `status` without the usual
// remedy; as it is, if RegistrationError did not make it.
absl::Status WithoutUsualRemedy(const absl::Status& status);

}  // namespace linchpin
