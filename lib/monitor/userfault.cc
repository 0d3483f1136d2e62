#include "lib/monitor/userfault.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/memory/mapping.h"

namespace linchpin {
namespace {

// Newer than the headers of the systems that we build on.
constexpr std::uint64_t kFeatureWpAsync = 1U << 15;  // UFFD_FEATURE_WP_ASYNC

constexpr std::uint64_t kEvents =
    UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE;

// From the most to the least; the kernel answers EINVAL to a feature it does not know. With
// WP_ASYNC every mapping can be armed, without it only anonymous memory, shmem and hugetlb.
constexpr std::array<std::uint64_t, 3> kFeatures{
    kEvents | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | kFeatureWpAsync,
    kEvents | UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
    kEvents,
};

const char* Remedy(int error) {
  switch (error) {
    case ENOSYS:
      return "use a kernel with CONFIG_USERFAULTFD, and a sandbox that passes userfaultfd on";
    case EPERM:
      return "allow userfaultfd in the seccomp profile of the container or service; before Linux "
             "5.11 also set sysctl vm.unprivileged_userfaultfd=1";
    case EMFILE:
    case ENFILE:
      return "raise RLIMIT_NOFILE (ulimit -n)";
    default:
      return "use a kernel of at least Linux 5.7 with CONFIG_USERFAULTFD";
  }
}

absl::Status CannotOpen(int error) {
  return absl::UnavailableError(absl::StrCat(
      "memory cannot be watched, userfaultfd: ", ErrnoText(error), "; ", Remedy(error)));
}

// Without privilege only faults of user space may be handled, which is more than we need; kernels
// before 5.11 do not know that flag.
int Open() {
  constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;
  const auto fd = static_cast<int>(syscall(SYS_userfaultfd, kFlags));
  if (fd >= 0 || errno != EPERM) return fd;
  const auto user_only = static_cast<int>(syscall(SYS_userfaultfd, kFlags | UFFD_USER_MODE_ONLY));
  if (user_only < 0 && errno == EINVAL) errno = EPERM;
  return user_only;
}

}  // namespace

absl::StatusOr<Userfault> Userfault::Create() {
  int error = 0;
  for (const std::uint64_t features : kFeatures) {
    // A descriptor takes one UFFDIO_API: a refused try has spent it.
    ForkClosedFd fd(Open());
    if (!fd.valid()) return CannotOpen(errno);
    uffdio_api api{};
    api.api = UFFD_API;
    api.features = features;
    if (ioctl(fd.get(), UFFDIO_API, &api) == 0) return Userfault(std::move(fd));
    error = errno;
  }
  return CannotOpen(error);
}

int Userfault::Arm(Range range) const {
  uffdio_register request{};
  request.range = {range.start, range.size()};
  request.mode = UFFDIO_REGISTER_MODE_WP;
  return ioctl(fd_.get(), UFFDIO_REGISTER, &request) == 0 ? 0 : errno;
}

int Userfault::Disarm(Range range) const {
  uffdio_range request{range.start, range.size()};
  return ioctl(fd_.get(), UFFDIO_UNREGISTER, &request) == 0 ? 0 : errno;
}

std::ptrdiff_t Userfault::Read(std::span<uffd_msg> events) const {
  const ssize_t got = read(fd_.get(), events.data(), events.size_bytes());
  if (got < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  const auto bytes = static_cast<std::size_t>(got);
  if (bytes == 0 || bytes % sizeof(uffd_msg) != 0) {  // Not a userfaultfd any more.
    errno = EBADF;
    return -1;
  }
  return static_cast<std::ptrdiff_t>(bytes / sizeof(uffd_msg));
}

void Userfault::ResolveFault(std::uint64_t address) const {
  constexpr std::array<std::uint64_t, 2> kHugePages{std::uint64_t{1} << 21, std::uint64_t{1} << 30};
  const auto unprotect = [this, address](std::uint64_t page) {
    uffdio_writeprotect request{};
    request.range = {address - address % page, page};
    return ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &request) == 0;
  };
  if (unprotect(BasePageSize())) return;
  for (const std::uint64_t page : kHugePages) {
    if (errno == EINVAL && unprotect(page)) return;
  }
  // It was unmapped, or is being: the thread tries again and faults again, if it must.
  uffdio_range request{address - address % BasePageSize(), BasePageSize()};
  ioctl(fd_.get(), UFFDIO_WAKE, &request);
}

int Userfault::AskOutstanding() const {
  // The kernel looks for outstanding changes first and at the arguments second, and a length of 0
  // is never valid: nothing is ever protected by this.
  uffdio_writeprotect request{};
  return ioctl(fd_.get(), UFFDIO_WRITEPROTECT, &request) == 0 ? 0 : errno;
}

}  // namespace linchpin
