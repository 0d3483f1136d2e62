// PinWatcher: the one thread of a process that waits for the ends of pin files: their descriptors,
// their grace times, and the breaks of their leases.
//
// It starts with the first pin file or file lease and runs until the process ends, so that nobody
// ever waits for it to stop. A forked child has none, and makes its own.
//
// Thread-safety: all calls may be made at once from any threads, with no lock held that a Watched
// takes in its calls.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "lib/base/fork_closed_fd.h"
#include "lib/base/mutex.h"

namespace linchpin::internal {

class PinWatcher final {
 public:
  using Clock = std::chrono::steady_clock;

  // What is watched. Called on the watcher's thread, with no lock of the watcher's held, and
  // perhaps once more after Unwatch or Remove.
  class Watched {
   public:
    virtual ~Watched() = default;
    virtual void OnReady(std::uint32_t events) = 0;  // Of epoll: asked for, or EPOLLERR, EPOLLHUP.
    virtual void OnDeadline() = 0;
    virtual void OnLeaseSignal() = 0;  // A lease of this process is being broken; whose, ask it.
  };
  using Key = std::uint64_t;

  // Sent by the kernel to the watcher's thread alone, which blocks it and reads it from a signalfd.
  // The kernel raises this one for nothing else, so nobody else's is ever taken away; and it is not
  // a real-time signal, whose queue could be full.
#ifdef SIGSTKFLT
  static constexpr int kLeaseSignal = SIGSTKFLT;
#else
  static constexpr int kLeaseSignal = SIGIO;
#endif

  // The process's own, started on the first call. Returns: ResourceExhausted, with nothing left
  // behind, when there are no descriptors or threads for it; the next call tries again.
  static absl::StatusOr<PinWatcher*> OfProcess();

  PinWatcher(const PinWatcher&) = delete;
  PinWatcher& operator=(const PinWatcher&) = delete;
  ~PinWatcher();  // Only of one whose thread did not start.

  Key NewKey();
  void Add(Key key, std::shared_ptr<Watched> watched);  // And keeps it, until Remove.
  void Remove(Key key);

  // Requires: `fd` stays open until Unwatch. Returns: ResourceExhausted when the user watches too
  // much.
  absl::Status Watch(Key key, int fd, std::uint32_t events);
  void Unwatch(int fd);

  // Calls OnDeadline at `time`, or earlier if it was asked to. Only the earliest counts.
  void WakeAt(Key key, Clock::time_point time);

  // The thread that leases send their signal to.
  pid_t thread_id() const {
    return thread_id_;
  }

 private:
  struct Entry {
    std::shared_ptr<Watched> watched;
    Clock::time_point deadline = Clock::time_point::max();
  };

  PinWatcher() = default;
  static absl::StatusOr<std::unique_ptr<PinWatcher>> Start();
  absl::Status OpenAll();
  void Run();
  void Wake();
  int MillisecondsToWait();
  std::shared_ptr<Watched> Find(Key key);
  void TellOfLeases();
  void TellOfDeadlines();

  ForkClosedFd epoll_;
  ForkClosedFd wake_;     // An eventfd: there is an earlier deadline.
  ForkClosedFd signals_;  // A signalfd of kLeaseSignal.

  Mutex mutex_;  // Nobody is called and no other lock is taken under it.
  CondVar started_;
  pid_t thread_id_ = 0;  // Written before Start returns, under the mutex.
  Key last_key_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<Key, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  // Of those entries that have one.
  std::set<std::pair<Clock::time_point, Key>> deadlines_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace linchpin::internal
