#include "lib/pin/pin_watcher.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "lib/base/check.h"
#include "lib/base/error.h"
#include "lib/base/of_process.h"
#include "lib/base/thread.h"

namespace linchpin::internal {
namespace {

// Keys of the watcher's own descriptors; those it gives out come after.
constexpr PinWatcher::Key kWakeKey = 1;
constexpr PinWatcher::Key kSignalKey = 2;

// Where a process finds its watcher.
struct Registry {
  Mutex mutex;  // Held while the watcher is made.
  std::unique_ptr<PinWatcher> watcher ABSL_GUARDED_BY(mutex);
};

constinit OfProcess<Registry> own_registry;

absl::Status NoDescriptor(const char* what) {
  return ErrnoToStatus(errno, what, "raise RLIMIT_NOFILE (ulimit -n), or close descriptors");
}

}  // namespace

absl::StatusOr<PinWatcher*> PinWatcher::OfProcess() {
  Registry& registry = own_registry.Get();
  const MutexLock lock(registry.mutex);
  if (registry.watcher == nullptr) {
    auto started = Start();
    if (!started.ok()) return started.status();
    registry.watcher = *std::move(started);
  }
  return registry.watcher.get();
}

PinWatcher::~PinWatcher() {
  LINCHPIN_CHECK(thread_id_ == 0);
}

absl::StatusOr<std::unique_ptr<PinWatcher>> PinWatcher::Start() {
  std::unique_ptr<PinWatcher> watcher(new PinWatcher());
  if (absl::Status opened = watcher->OpenAll(); !opened.ok()) return opened;
  auto thread = Thread::Start("linchpin-pins", [raw = watcher.get()] { raw->Run(); });
  if (!thread.ok()) return thread.status();
  thread->Detach();
  const MutexLock lock(watcher->mutex_);
  while (watcher->thread_id_ == 0) watcher->started_.Wait(watcher->mutex_);
  return watcher;
}

absl::Status PinWatcher::OpenAll() {
  {
    const MutexLock lock(mutex_);
    last_key_ = kSignalKey;
  }
  epoll_ = ForkClosedFd(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return NoDescriptor("epoll_create1 for pin files");
  wake_ = ForkClosedFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) return NoDescriptor("eventfd for pin files");
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, kLeaseSignal);
  signals_ = ForkClosedFd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return NoDescriptor("signalfd for pin files");
  if (absl::Status watched = Watch(kWakeKey, wake_.get(), EPOLLIN); !watched.ok()) return watched;
  return Watch(kSignalKey, signals_.get(), EPOLLIN);
}

PinWatcher::Key PinWatcher::NewKey() {
  const MutexLock lock(mutex_);
  return ++last_key_;
}

void PinWatcher::Add(Key key, std::shared_ptr<Watched> watched) {
  const MutexLock lock(mutex_);
  entries_[key].watched = std::move(watched);
}

void PinWatcher::Remove(Key key) {
  std::shared_ptr<Watched> removed;  // Destroyed after the mutex is released.
  const MutexLock lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  deadlines_.erase({found->second.deadline, key});
  removed = std::move(found->second.watched);
  entries_.erase(found);
}

absl::Status PinWatcher::Watch(Key key, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return ErrnoToStatus(errno, "watching a descriptor for a pin file",
                       "raise /proc/sys/fs/epoll/max_user_watches");
}

void PinWatcher::Unwatch(int fd) {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void PinWatcher::WakeAt(Key key, Clock::time_point time) {
  {
    const MutexLock lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end() || found->second.deadline <= time) return;
    deadlines_.erase({found->second.deadline, key});
    found->second.deadline = time;
    deadlines_.insert({time, key});
  }
  Wake();
}

void PinWatcher::Wake() {
  // Fails only when the count is at its maximum, and so the thread is woken already.
  eventfd_write(wake_.get(), 1);
}

void PinWatcher::Run() {
  {
    const MutexLock lock(mutex_);
    thread_id_ = gettid();
    started_.NotifyAll();
  }
  std::array<epoll_event, 64> events{};
  for (;;) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 MillisecondsToWait());
    bool leases = false;
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.u64 == kWakeKey) {
        eventfd_t ignored = 0;
        eventfd_read(wake_.get(), &ignored);
      } else if (event.data.u64 == kSignalKey) {
        signalfd_siginfo ignored{};
        while (read(signals_.get(), &ignored, sizeof ignored) > 0) leases = true;
      } else if (const auto watched = Find(event.data.u64)) {
        watched->OnReady(event.events);
      }
    }
    if (leases) TellOfLeases();
    TellOfDeadlines();
  }
}

int PinWatcher::MillisecondsToWait() {
  const MutexLock lock(mutex_);
  if (deadlines_.empty()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadlines_.begin()->first - Clock::now());
  constexpr std::int64_t kLongest = std::numeric_limits<int>::max();
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, kLongest));
}

std::shared_ptr<PinWatcher::Watched> PinWatcher::Find(Key key) {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second.watched;
}

void PinWatcher::TellOfLeases() {
  std::vector<std::shared_ptr<Watched>> all;
  {
    const MutexLock lock(mutex_);
    for (const auto& [key, entry] : entries_) all.push_back(entry.watched);
  }
  for (const auto& watched : all) watched->OnLeaseSignal();
}

void PinWatcher::TellOfDeadlines() {
  std::vector<std::shared_ptr<Watched>> due;
  {
    const MutexLock lock(mutex_);
    const Clock::time_point now = Clock::now();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      Entry& entry = entries_.at(deadlines_.begin()->second);
      entry.deadline = Clock::time_point::max();
      due.push_back(entry.watched);
      deadlines_.erase(deadlines_.begin());
    }
  }
  for (const auto& watched : due) watched->OnDeadline();
}

}  // namespace linchpin::internal
