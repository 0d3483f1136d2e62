#include "lib/pin/backing_guard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/process.h"

namespace linchpin {
namespace {

using internal::PinWatcher;

absl::Status Refused(const char* why, const char* instead) {
  return absl::FailedPreconditionError(
      absl::StrCat("the file cannot be guarded so: ", why, "; ", instead));
}

absl::Status LeaseRefusal(int error, int type) {
  switch (error) {
    case EAGAIN:
      if (type == F_RDLCK) {
        return Refused("a read lease is for what nobody has open or mapped for writing",
                       "close it, or guard it by another descriptor");
      }
      return Refused("a write lease is for the only one who has it open, and others have too",
                     "open it read-only, or close the other descriptors");
    case EACCES:
      return absl::PermissionDeniedError(
          "the file cannot be leased: it is another user's (EACCES); own it, or have CAP_LEASE");
    case EINVAL:
      return Refused("it takes a lease, and its file system has none",
                     "use a local file system, or guard otherwise");
    default:
      return ErrnoToStatus(error, "taking a file lease", "see /proc/sys/fs/leases-enable");
  }
}

// Makes the watcher's thread, and nobody else, hear of the open file's leases.
absl::Status Own(int fd, pid_t thread) {
  f_owner_ex owner{};
  if (fcntl(fd, F_GETOWN_EX, &owner) == 0 && owner.pid != 0) {
    return Refused("the open file has an owner for its signals already (F_SETOWN)",
                   "guard it by a descriptor of an open of its own");
  }
  owner.type = F_OWNER_TID;
  owner.pid = thread;
  if (fcntl(fd, F_SETOWN_EX, &owner) == 0 && fcntl(fd, F_SETSIG, PinWatcher::kLeaseSignal) == 0) {
    return absl::OkStatus();
  }
  return ErrnoToStatus(errno, "naming the owner of a file lease", "guard otherwise");
}

void Disown(int fd) {
  fcntl(fd, F_SETOWN, 0);
  fcntl(fd, F_SETSIG, 0);
}

}  // namespace

BackingGuard::Impl::Impl(int fd, Kind kind, File file)
    : cookie_(ProcessCookie()), kind_(kind), file_(file), fd_(fd) {}

bool BackingGuard::Impl::IsOurs() const {
  return cookie_ == ProcessCookie();
}

absl::Status BackingGuard::Impl::Seal() {
  constexpr const char* kAllowIt = "make the memfd with MFD_ALLOW_SEALING, or guard otherwise";
  const int seals = fcntl(fd_.get(), F_GET_SEALS);
  if (seals < 0) return Refused("it is no memfd, and only those have seals", kAllowIt);
  constexpr int kNoWriting = F_SEAL_FUTURE_WRITE | F_SEAL_WRITE;  // One is enough.
  if ((seals & F_SEAL_SHRINK) != 0 && (seals & kNoWriting) != 0) return absl::OkStatus();
  if ((seals & F_SEAL_SEAL) != 0) {
    return Refused("it is sealed against more seals (F_SEAL_SEAL)", kAllowIt);
  }
  if (fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE) == 0) {
    return absl::OkStatus();
  }
  if (errno == EPERM)
    return Refused("its descriptor is read-only, and cannot seal it", "open it for writing");
  return ErrnoToStatus(errno, "sealing a memfd", "guard otherwise");
}

absl::Status BackingGuard::Impl::Lease(const std::shared_ptr<Impl>& guard) {
  auto watcher = PinWatcher::OfProcess();
  if (!watcher.ok()) return watcher.status();
  const int fd = guard->fd_.get();
  if (fcntl(fd, F_GETLEASE) != F_UNLCK) {
    return Refused("the open file has a lease already", "use that one's guard");
  }
  if (absl::Status owned = Own(fd, (*watcher)->thread_id()); !owned.ok()) return owned;
  const int type = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? F_RDLCK : F_WRLCK;
  if (fcntl(fd, F_SETLEASE, type) != 0) {
    const int error = errno;
    Disown(fd);
    return LeaseRefusal(error, type);
  }
  guard->lease_ = type;
  guard->watcher_ = *watcher;
  guard->key_ = (*watcher)->NewKey();
  (*watcher)->Add(guard->key_, guard);
  guard->OnLeaseSignal();  // One that came before the watcher knew the guard.
  return absl::OkStatus();
}

bool BackingGuard::Impl::Holds() const {
  if (kind_ != Kind::kLease) return true;
  if (!IsOurs() || broken_.load()) return false;
  // While a lease is being broken, this is already the type that it is to become.
  if (fcntl(fd_.get(), F_GETLEASE) == lease_) return true;
  broken_.store(true);
  return false;
}

void BackingGuard::Impl::OnLeaseSignal() {
  if (!taken_.load() && !Holds()) LetGo();
}

void BackingGuard::Impl::LetGo() {
  if (kind_ != Kind::kLease || !IsOurs()) return;
  broken_.store(true);
  if (let_go_.exchange(true)) return;
  fcntl(fd_.get(), F_SETLEASE, F_UNLCK);
  Disown(fd_.get());
}

void BackingGuard::Impl::End() {
  LetGo();
  if (watcher_ != nullptr && IsOurs()) watcher_->Remove(key_);
}

int BackingGuard::Impl::WriteOut() const {
  return fdatasync(fd_.get()) == 0 ? 0 : errno;
}

absl::StatusOr<std::shared_ptr<BackingGuard>> BackingGuard::Create(int fd, Kind kind) {
  struct stat info {};
  if (fstat(fd, &info) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("descriptor ", fd, ": ", ErrnoText(errno), "; pass one of an open file"));
  }
  if (!S_ISREG(info.st_mode) || (fcntl(fd, F_GETFL) & O_PATH) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("descriptor ", fd, " is of no regular file that can be read or written; ",
                     "only those can be guarded"));
  }
  if (kind != Kind::kNone && kind != Kind::kSeal && kind != Kind::kLease) {
    return absl::InvalidArgumentError("an unknown kind of guard; use one of BackingGuard::Kind");
  }
  const int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) {
    return ErrnoToStatus(errno, "duplicating the descriptor of a guarded file",
                         "raise RLIMIT_NOFILE (ulimit -n), or close descriptors");
  }
  auto impl = std::make_shared<Impl>(own, kind, Impl::File{info.st_dev, info.st_ino});
  absl::Status guarded;
  if (kind == Kind::kSeal) guarded = impl->Seal();
  if (kind == Kind::kLease) guarded = Impl::Lease(impl);
  if (!guarded.ok()) return guarded;
  return std::shared_ptr<BackingGuard>(new BackingGuard(std::move(impl)));
}

BackingGuard::BackingGuard(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

BackingGuard::~BackingGuard() {
  impl_->End();
}

BackingGuard::Kind BackingGuard::kind() const {
  return impl_->kind();
}

std::uint64_t BackingGuard::device() const {
  return impl_->file().device;
}

std::uint64_t BackingGuard::inode() const {
  return impl_->file().inode;
}

bool BackingGuard::holds() const {
  return impl_->Holds();
}

}  // namespace linchpin
