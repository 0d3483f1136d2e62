#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace linchpin {

namespace internal {
class PinFileCore;
}  // namespace internal

// Keeps the file behind pinned memory from shrinking while it is pinned: truncation frees pages
// that a device still writes to, and no monitor hears of it. Belongs to a PinFile, whose pins are
// revoked when the guard gives way.
//
// Thread-safety: all calls may be made at once from any threads.
class BackingGuard final {
 public:
  enum class Kind : std::uint8_t {
    kNone,   // No protection: the application promises it.
    kSeal,   // F_SEAL_SHRINK and F_SEAL_FUTURE_WRITE, for good. Only for a memfd made with
             // MFD_ALLOW_SEALING. Existing writable mappings stay writable; there can be no new
             // ones, and no write(), by anyone.
    kLease,  // A file lease: whoever opens the file for writing, or truncates it, elsewhere, waits
             // until the pins are revoked (at most /proc/sys/fs/lease-break-time). It does not
             // stop ftruncate through a copy of the very same open file.
  };

  // `fd` is the descriptor that was mapped, or one of the same file; a duplicate of it is kept.
  // kLease needs a regular file of the caller's (or CAP_LEASE), opened read-only and not mapped
  // writable by anyone, or opened by nobody else at all.
  // Returns: the guard; InvalidArgument when `fd` is no open file of the right sort;
  // FailedPrecondition, with the reason and what to do, when the file cannot be so guarded: sealed
  // against sealing, made without MFD_ALLOW_SEALING, opened or leased by others;
  // PermissionDenied when it is another user's.
  static absl::StatusOr<std::shared_ptr<BackingGuard>> Create(int fd, Kind kind);
  ~BackingGuard();
  BackingGuard(const BackingGuard&) = delete;
  BackingGuard& operator=(const BackingGuard&) = delete;

  Kind kind() const;
  std::uint64_t device() const;  // st_dev and st_ino of the file.
  std::uint64_t inode() const;
  // Whether what it promises still holds. A lease that was broken never holds again.
  bool holds() const;

 private:
  friend class internal::PinFileCore;
  class Impl;
  explicit BackingGuard(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

struct PinFileOptions {
  // How long held leases may go on when the file's life ends, before they are revoked. Negative
  // is 0.
  absl::Duration grace = absl::ZeroDuration();
  // Whether a peer that has only shut down its sending side (RDHUP) still counts as there.
  bool half_close_is_alive = false;
  std::shared_ptr<BackingGuard> guard = nullptr;  // One PinFile a guard.
  std::string name = {};                          // Shown by `linchpin pins`; cut to 63 bytes.
};

// Ties pins to the life of a file descriptor, in this process or another. While it is alive, memory
// can be acquired for it; when its life ends, no new pins are given, held ones have the grace time
// to be released, and then all are revoked: deregistered although held, so that the device refuses
// their further use.
//
// A local registration that others claim too (another PinFile, or a plain lease) stays for them.
//
// Thread-safety: all calls may be made at once from any threads. In a forked child it is inert: not
// alive, and destruction does nothing to the parent's.
class PinFile final {
 public:
  struct Created;

  // A PinFile with a descriptor of its own: it lives until the last copy of `holder_fd`, in
  // whichever process, is closed, or any holder shuts it down for writing (SHUT_WR, SHUT_RDWR;
  // SHUT_RD alone says nothing). The caller owns holder_fd (close-on-exec), may duplicate it and
  // pass it on, and must close its own copy after. Whatever is sent to it is read and thrown away,
  // descriptors are closed.
  // Returns: ResourceExhausted, with the remedy, when descriptors (EMFILE) or threads run out;
  // nothing is left behind then.
  static absl::StatusOr<Created> Create(PinFileOptions options = {});

  // Ties to the peer of a connected socket, to the other end of a pipe, or to the process of a
  // pidfd, never to the closing of `fd` here: a duplicate is kept. The application goes on using
  // `fd` as it likes; nothing is read from it.
  // Returns: InvalidArgument, with what to use instead, for what can never say that it ended: a
  // regular file, a directory, a socket that is not connected; otherwise as Create.
  static absl::StatusOr<std::shared_ptr<PinFile>> Attach(int fd, PinFileOptions options = {});

  ~PinFile();
  PinFile(const PinFile&) = delete;
  PinFile& operator=(const PinFile&) = delete;

  // Whether memory can be acquired for it.
  bool alive() const;

  // Whether its pins have been taken back: its life has ended, and all are deregistered.
  bool revoked() const;

  // How many leases and pins of it are held now, those apart that were taken back.
  std::uint64_t held() const;

  // Ends its life now, and revokes what is held after the grace time, or after `timeout` if that is
  // shorter. Returns: OK when every pin is deregistered; DeadlineExceeded when some are not yet a
  // second after `timeout`: they will be.
  absl::Status Revoke(absl::Duration timeout);

  // Revoke without grace, and no descriptor is kept any more: the application's side of the end.
  absl::Status Close();

  // For memory of a writable shared file: deregisters what was pinned and is not held any more (the
  // kernel marks pages dirty only then), then writes the ranges marked dirty to the file, and
  // waits for them. Returns: FailedPrecondition, naming them, when dirty ranges are still held;
  // otherwise what msync said.
  absl::Status Sync();

  std::uint64_t id() const;  // Unlike any other in this process, never 0.
  const std::string& name() const;
  const std::shared_ptr<BackingGuard>& guard() const;

 private:
  friend class internal::PinFileCore;
  explicit PinFile(std::shared_ptr<internal::PinFileCore> core);
  std::shared_ptr<internal::PinFileCore> core_;
};

struct PinFile::Created {
  std::shared_ptr<PinFile> file;
  int holder_fd = -1;
};

}  // namespace linchpin
