#include "lib/c/last_error.h"

#include <cerrno>
#include <string>

namespace linchpin::c {
namespace {

// Leases may be released by destructors of thread-local objects, later than this one's.
thread_local bool ended = false;

struct Sentence {
  Sentence() = default;
  Sentence(const Sentence&) = delete;
  Sentence& operator=(const Sentence&) = delete;
  ~Sentence() { ended = true; }

  std::string text;
};

thread_local Sentence last;

int ErrorOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    case absl::StatusCode::kFailedPrecondition:
      return EFAULT;
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    case absl::StatusCode::kPermissionDenied:
      return EPERM;
    case absl::StatusCode::kAborted:
      return EAGAIN;
    case absl::StatusCode::kUnimplemented:
      return EOPNOTSUPP;
    case absl::StatusCode::kUnavailable:
      return ENODEV;
    case absl::StatusCode::kDeadlineExceeded:
      return ETIMEDOUT;
    default:
      return EIO;
  }
}

}  // namespace

void SetLastError(std::string_view sentence) noexcept {
  if (ended) return;
  try {
    last.text = sentence;
  } catch (...) {
    last.text = "out of memory";  // Short enough to need none.
  }
}

const char* LastError() noexcept {
  return ended ? "" : last.text.c_str();
}

int Fail(int error, std::string_view sentence) noexcept {
  SetLastError(sentence);
  return -error;
}

int Result(const absl::Status& status) noexcept {
  if (status.ok()) return 0;
  const absl::string_view message = status.message();
  return Fail(ErrorOf(status.code()), {message.data(), message.size()});
}

}  // namespace linchpin::c
