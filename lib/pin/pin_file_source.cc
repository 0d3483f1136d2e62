#include "lib/pin/pin_file_source.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"

namespace linchpin::internal {
namespace {

constexpr const char* kCloseSome = "raise RLIMIT_NOFILE (ulimit -n), or close descriptors";

absl::Status CannotEnd(int fd, const char* what, const char* instead) {
  return absl::InvalidArgumentError(absl::StrCat(
      "descriptor ", fd, " is ", what, ", which never says that somebody is gone; ", instead));
}

constexpr const char* kUseAnother =
    "attach to a connected socket, a pipe or a pidfd, or use PinFile::Create";

// Asked of the descriptor itself: a pidfd has no file type of its own on all kernels.
bool IsPidfd(int fd) {
  if (syscall(SYS_pidfd_send_signal, fd, 0, nullptr, 0) == 0) return true;
  return errno != EBADF && errno != ENOSYS;
}

absl::Status CheckSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
  if (type != SOCK_STREAM && type != SOCK_SEQPACKET) {
    return CannotEnd(fd, "a socket without connections", "attach to a stream or seqpacket socket");
  }
  sockaddr_storage peer{};
  size = sizeof peer;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return absl::OkStatus();
  return CannotEnd(fd, "a socket that is not connected",
                   "attach to it once it is, or to what accept() gives");
}

}  // namespace

absl::StatusOr<HolderSource> MakeHolder() {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return ErrnoToStatus(errno, "making a pin file's holder descriptor", kCloseSome);
  }
  HolderSource made;
  made.source.fd = Fd(ends[0]);
  made.source.events = EPOLLIN | EPOLLRDHUP;
  made.source.drained = true;
  made.source.reason = "its last holder descriptor was closed, or one was shut down";
  made.holder = Fd(ends[1]);
  return made;
}

absl::StatusOr<PinFileSource> PeerOf(int fd, bool half_close_is_alive) {
  struct stat info {};
  if (fstat(fd, &info) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("descriptor ", fd, ": ", ErrnoText(errno),
                                                   "; attach to a descriptor that is open"));
  }
  const int flags = fcntl(fd, F_GETFL);
  if ((flags & O_PATH) != 0) return CannotEnd(fd, "opened with O_PATH", kUseAnother);
  PinFileSource source;
  if (S_ISDIR(info.st_mode)) return CannotEnd(fd, "a directory", kUseAnother);
  if (IsPidfd(fd)) {
    source.events = EPOLLIN;
    source.reason = "its process ended";
  } else if (S_ISSOCK(info.st_mode)) {
    if (absl::Status connected = CheckSocket(fd); !connected.ok()) return connected;
    if (!half_close_is_alive) source.events = EPOLLRDHUP;
    source.reason = "its peer hung up";
  } else if (S_ISFIFO(info.st_mode)) {
    if ((flags & O_ACCMODE) == O_RDWR) {
      return CannotEnd(fd, "both ends of a pipe at once", "attach to an end opened for one thing");
    }
    source.reason = "the other end of its pipe was closed";
  } else if (S_ISREG(info.st_mode)) {
    return CannotEnd(fd, "a regular file", kUseAnother);
  } else {
    return CannotEnd(fd, "neither socket nor pipe nor pidfd", kUseAnother);
  }
  source.fd = Fd(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!source.fd.valid()) {
    return ErrnoToStatus(errno, "duplicating the descriptor of a pin file", kCloseSome);
  }
  return source;
}

// Descriptors that are sent and not asked for are closed by the kernel.
void Drain(int fd) {
  constexpr int kReadsMax = 16;  // Then others have their turn.
  std::array<char, 4096> thrown_away{};
  for (int i = 0; i < kReadsMax; ++i) {
    if (recv(fd, thrown_away.data(), thrown_away.size(), MSG_DONTWAIT) <= 0) return;
  }
}

}  // namespace linchpin::internal
