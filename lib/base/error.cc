#include "lib/base/error.h"

#include <cerrno>
#include <cstring>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace linchpin {
namespace {

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOMEM:
    case ENOSPC:
    case EMFILE:
    case ENFILE:
    case EDQUOT:
    case EAGAIN:
      return absl::StatusCode::kResourceExhausted;
    case EFAULT:
      return absl::StatusCode::kFailedPrecondition;
    case EPERM:
    case EACCES:
      return absl::StatusCode::kPermissionDenied;
    case EINVAL:
      return absl::StatusCode::kInvalidArgument;
    case EOPNOTSUPP:
    case ENOSYS:
      return absl::StatusCode::kUnimplemented;
    case ENODEV:
    case ENXIO:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

struct UsualRemedy {
  int error;  // 0: all others.
  std::string_view text;
};
constexpr UsualRemedy kUsualRemedies[] = {
    {ENOMEM, "raise RLIMIT_MEMLOCK (ulimit -l), or hold fewer or smaller registrations"},
    {EFAULT,
     "map the whole range, with write permission if LocalWrite is asked for, and within the end of "
     "its file; shared writable file mappings cannot be pinned on recent kernels"},
    {EPERM, "RLIMIT_MEMLOCK is 0: raise it (ulimit -l), or give the process CAP_IPC_LOCK"},
    {EINVAL, "ask for rights and a length that the device supports"},
    {EOPNOTSUPP, "the device cannot register this kind of memory (FS-DAX needs on-demand paging)"},
    {0, "see the kernel log for what the device refused"},
};
constexpr std::string_view kBeforeRemedy = "; ";

std::string_view RegistrationRemedy(int error) {
  const UsualRemedy* remedy = std::begin(kUsualRemedies);
  while (remedy->error != error && remedy->error != 0) ++remedy;
  return remedy->text;
}

}  // namespace

std::string ErrnoName(int error) {
  const char* name = strerrorname_np(error);
  return name != nullptr ? std::string(name) : absl::StrCat("errno ", error);
}

std::string ErrnoText(int error) {
  const char* text = strerrordesc_np(error);
  return text != nullptr ? absl::StrCat(ErrnoName(error), " (", text, ")") : ErrnoName(error);
}

absl::Status ErrnoToStatus(int error, std::string_view what, std::string_view remedy) {
  return {CodeOf(error),
          absl::StrCat(absl::string_view(what.data(), what.size()), ": ", ErrnoText(error),
                       absl::string_view(kBeforeRemedy.data(), kBeforeRemedy.size()),
                       absl::string_view(remedy.data(), remedy.size()))};
}

absl::Status RegistrationError(int error, std::string_view what, Range range) {
  return ErrnoToStatus(
      error, absl::StrCat(absl::string_view(what.data(), what.size()), " of ", range.ToString()),
      RegistrationRemedy(error));
}

absl::Status WithoutUsualRemedy(const absl::Status& status) {
  const std::string_view message(status.message().data(), status.message().size());
  for (const UsualRemedy& remedy : kUsualRemedies) {
    if (!message.ends_with(remedy.text)) continue;
    const std::string_view rest = message.substr(0, message.size() - remedy.text.size());
    if (!rest.ends_with(kBeforeRemedy)) continue;
    return {status.code(), absl::string_view(rest.data(), rest.size() - kBeforeRemedy.size())};
  }
  return status;
}

}  // namespace linchpin
