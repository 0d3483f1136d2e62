// PinFileCore: what is behind a PinFile, and what those need who have pins of one: the caches and
// VaddrPins, its clients.
//
// A claim is one pin, or one lease on a pin, that belongs to the file: begun before it is made and
// ended when it is gone for good, so that no claims means nothing is pinned for the file.
//
//   Alive --ended--> Closing --no claims, or the grace time is over--> Revoked
//   Alive     BeginClaim succeeds
//   Closing   it fails; clients were told OnClosing: what nobody holds goes
//   Revoked   clients were told OnRevoke: everything goes; the guard is let go after the last claim
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/fd.h"
#include "lib/base/mutex.h"
#include "lib/pin/dirty_ranges.h"
#include "lib/pin/pin_file_source.h"
#include "lib/pin/pin_file_state.h"
#include "lib/pin/pin_watcher.h"
#include "linchpin/pin_file.h"
#include "linchpin/range.h"

namespace linchpin::internal {

class PinFileCore;

// Has pins of a PinFile. Called with no lock of the file's held, on the watcher's thread or on one
// that calls Revoke, Close or Sync; perhaps by two threads at once.
class PinFileClient {
 public:
  virtual ~PinFileClient() = default;

  // What belongs to the file and is held by nobody is to end, soon and on the client's own thread.
  virtual void OnClosing(const PinFileCore& file) = 0;

  // All that belongs to the file is to end although held. Returns at once or after deregistering:
  // each claim is ended by EndClaim whenever its registration is gone.
  virtual void OnRevoke(const PinFileCore& file) = 0;

  // Deregisters what belongs to the file, is dirty, and is held by nobody, and leaves its dirty
  // ranges with the file (KeepDirty); adds to `held` those of what is held. Returns when it is
  // deregistered, but may not wait for another thread's EndClaim, which may be waiting for this
  // call.
  virtual void OnSync(const PinFileCore& file, std::vector<Range>& held) = 0;

  // How many leases or pins of the file somebody holds, those that were revoked apart.
  virtual std::uint64_t Held(const PinFileCore& /*file*/) { return 1; }
};

class PinFileCore final : public PinWatcher::Watched,
                          public std::enable_shared_from_this<PinFileCore> {
 public:
  // The core of a file that the user has. Claims keep the core, not the PinFile: a file that the
  // user let go of goes on for as long as something is pinned for it.
  static const std::shared_ptr<PinFileCore>& Of(const PinFile& file);

  // Returns: OK; FailedPrecondition, saying what ended the file, when it is not alive, or when this
  // is a forked child. From then on `client` is called, until it has ended its last claim.
  // Requires: no lock is held that a client's callback or the monitor's reader takes.
  absl::Status BeginClaim(PinFileClient& client);

  // Ends one claim. If it was the client's last, the client is not being called any more when this
  // returns (unless it is this very call that it is in), and will not be: so it waits for calls on
  // other threads to return. Requires: no lock is held that a client's callback takes; never fails,
  // never waits for a device otherwise.
  void EndClaim(PinFileClient& client) noexcept;

  // Whether the guard, if there is one, still holds for memory of this file (st_dev, st_ino).
  bool Guards(std::uint64_t device, std::uint64_t inode) const;

  // Whether claims can begin. False from before the first client is told.
  bool alive() const { return state() == PinFileState::kAlive && IsOurs(); }

  // Remembers dirty ranges of a claim that ends, for the next Sync. Allocates.
  void KeepDirty(const std::vector<Range>& ranges);

  std::uint64_t id() const { return id_; }
  const std::string& name() const { return name_; }

  // The rest is PinFile's own.

  // Takes the guard in `options`, and watches `source`. Returns: FailedPrecondition when the guard
  // is another file's or does not hold; ResourceExhausted.
  static absl::StatusOr<std::shared_ptr<PinFileCore>> Make(PinFileSource source,
                                                           PinFileOptions options);
  PinFileCore(PinWatcher& watcher, PinFileSource source, PinFileOptions options);

  std::uint64_t Held();
  // All pins are gone; kRevoked says only that nobody is waited for any more.
  bool revoked() const { return finishing_.load(std::memory_order_acquire) && IsOurs(); }
  absl::Status Revoke(absl::Duration timeout, const char* reason);
  absl::Status Close();
  absl::Status Sync();
  void Forsake();  // The user has destroyed the PinFile.
  const std::shared_ptr<BackingGuard>& guard() const { return guard_; }

  void OnReady(std::uint32_t events) override;
  void OnDeadline() override { Advance(); }
  void OnLeaseSignal() override;

 private:
  using Clock = PinWatcher::Clock;
  enum class Told : std::uint8_t { kNothing, kClosing, kRevoke };
  struct Client {
    std::uint64_t claims = 0;
    int calls = 0;    // It is being called so many times.
    int waiting = 0;  // In EndClaim, for those to return.
    Told told = Told::kNothing;
  };
  using Clients = std::map<PinFileClient*, Client>;
  class Call;

  bool IsOurs() const;  // And not a forking parent's.
  PinFileState state() const { return state_.load(std::memory_order_acquire); }
  void Apply(PinFileEvent event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status InChild() const;
  std::string Title() const;

  void End(const char* reason, Clock::duration grace);
  void Advance();  // Does what is due: tells clients, finishes. On any thread, any number of times.
  bool TakeClosing();
  bool TakeRevoke();
  void FinishIfDone();
  void ReleaseDescriptor() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CloseInChild() ABSL_NO_THREAD_SAFETY_ANALYSIS;

  // Calls each client that has claims and was not told that much yet; of kNothing, each.
  void ForEachClient(Told what, const std::function<void(PinFileClient&)>& call);
  void EraseIfSpent(Clients::iterator client) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteOut(const DirtyRanges& dirty);

  const std::uint64_t cookie_;
  const std::uint64_t id_;
  const std::string name_;
  const Clock::duration grace_;
  const std::shared_ptr<BackingGuard> guard_;
  const char* const ended_by_source_;
  const bool drained_;
  PinWatcher& watcher_;
  const PinWatcher::Key key_;

  // Written under the mutex.
  std::atomic<PinFileState> state_ = PinFileState::kAlive;
  std::atomic<bool> finishing_ = false;  // Revoked and no claims.

  // Nobody is called under it, and no other lock is taken; it is held across the non-blocking reads
  // of what was sent, so that the descriptor is not closed meanwhile.
  mutable Mutex mutex_;
  CondVar changed_;  // Deadline, finished, or a call has returned.
  Fd fd_ ABSL_GUARDED_BY(mutex_);
  bool watched_ ABSL_GUARDED_BY(mutex_) = false;
  const char* reason_ ABSL_GUARDED_BY(mutex_) = "";  // Of the end.
  Clock::time_point deadline_ ABSL_GUARDED_BY(mutex_) = Clock::time_point::max();
  bool closing_told_ ABSL_GUARDED_BY(mutex_) = false;  // Or being told.
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;      // No claims, and the guard is let go.
  // A client is there while it has claims or is being called. claims_ is the sum over them.
  Clients clients_ ABSL_GUARDED_BY(mutex_);
  std::uint64_t claims_ ABSL_GUARDED_BY(mutex_) = 0;
  DirtyRanges unsynced_ ABSL_GUARDED_BY(mutex_);  // Deregistered, and not written to the file yet.
};

}  // namespace linchpin::internal
