// BackingGuard::Impl: the descriptor by which a guard holds its file, and the lease on it.
//
// A lease gives notice of its break to the watcher's thread: by the kernel's own "owner" of the
// open file, which is that thread and no process, so that no signal handler of the application is
// ever involved. While nobody's pins depend on the guard it lets go at once; a PinFile that has
// taken it lets go when its last claim has ended, and only then may the truncation go on.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"

#include "lib/base/fork_closed_fd.h"
#include "lib/base/mutex.h"
#include "lib/pin/pin_watcher.h"
#include "linchpin/pin_file.h"

namespace linchpin {

class BackingGuard::Impl final : public internal::PinWatcher::Watched {
 public:
  struct File {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
  };

  // `fd` is the guard's own.
  Impl(int fd, Kind kind, File file);

  // Each: FailedPrecondition, PermissionDenied or InvalidArgument as Create; nothing has changed
  // then.
  absl::Status Seal();
  static absl::Status Lease(const std::shared_ptr<Impl>& guard);

  // For a PinFile. Returns: false if another has.
  bool Take() { return !taken_.exchange(true); }
  void GiveBack() { taken_.store(false); }

  bool Holds() const;
  void LetGo();  // What waits for the lease goes on. Any number of times.
  void End();    // The user and the PinFile have let go of the guard.

  // Writes what is dirty in the file to its device. Returns: 0 or an errno.
  int WriteOut() const;

  Kind kind() const { return kind_; }
  const File& file() const { return file_; }

  void OnReady(std::uint32_t) override {}
  void OnDeadline() override {}
  void OnLeaseSignal() override;

 private:
  bool IsOurs() const;

  const std::uint64_t cookie_;
  const Kind kind_;
  const File file_;
  ForkClosedFd fd_;
  std::atomic<bool> taken_{false};

  // Constant once the lease is there.
  internal::PinWatcher* watcher_ = nullptr;
  internal::PinWatcher::Key key_ = 0;
  int lease_ = 0;  // F_RDLCK or F_WRLCK.

  mutable std::atomic<bool> broken_{false};  // Never holds again.
  std::atomic<bool> let_go_{false};
};

}  // namespace linchpin
