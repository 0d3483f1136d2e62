#include "lib/pin/pin_file_core.h"

#include <sys/epoll.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/check.h"
#include "lib/base/process.h"
#include "lib/pin/backing_guard.h"

namespace linchpin::internal {
namespace {

constexpr std::size_t kNameBytesMax = 63;
constexpr std::chrono::seconds kLate{1};  // How long Revoke waits for deregistrations.

std::atomic<std::uint64_t> last_id{0};

// So that a time plus it can be told: "for ever" is ten years.
PinWatcher::Clock::duration Bounded(absl::Duration duration) {
  constexpr int kHours = 24 * 365 * 10;
  return absl::ToChronoNanoseconds(std::clamp(duration, absl::ZeroDuration(), absl::Hours(kHours)));
}

// Half of what the kernel gives before it breaks a lease by force.
PinWatcher::Clock::duration LeaseGrace() {
  int seconds = 0;
  if (!(std::ifstream("/proc/sys/fs/lease-break-time") >> seconds)) seconds = 10;
  return std::chrono::milliseconds(500) * std::max(seconds, 0);
}

}  // namespace

absl::StatusOr<std::shared_ptr<PinFileCore>> PinFileCore::Make(PinFileSource source,
                                                               PinFileOptions options) {
  auto watcher = PinWatcher::OfProcess();
  if (!watcher.ok()) return watcher.status();
  const std::shared_ptr<BackingGuard> guard = options.guard;
  if (guard != nullptr && !guard->impl_->Take()) {
    return absl::FailedPreconditionError(
        "the guard belongs to another PinFile; make one for each PinFile");
  }
  const int fd = source.fd.get();
  const std::uint32_t events = source.events;
  auto core = std::make_shared<PinFileCore>(**watcher, std::move(source), std::move(options));
  {
    const MutexLock lock(core->mutex_);
    core->watched_ = true;
  }
  (*watcher)->Add(core->key_, core);
  absl::Status made = (*watcher)->Watch(core->key_, fd, events);
  if (made.ok() && guard != nullptr && !guard->holds()) {
    made = absl::FailedPreconditionError(
        "the guard does not hold any more: its lease was broken; make another");
    (*watcher)->Unwatch(fd);
  }
  if (made.ok()) return core;
  (*watcher)->Remove(core->key_);
  if (guard != nullptr) {
    guard->impl_->GiveBack();
    guard->impl_->OnLeaseSignal();  // One that came while it was taken.
  }
  return made;
}

PinFileCore::PinFileCore(PinWatcher& watcher, PinFileSource source, PinFileOptions options)
    : cookie_(ProcessCookie()),
      id_(last_id.fetch_add(1) + 1),
      name_(options.name.substr(0, kNameBytesMax)),
      grace_(Bounded(options.grace)),
      guard_(std::move(options.guard)),
      ended_by_source_(source.reason),
      drained_(source.drained),
      watcher_(watcher),
      key_(watcher.NewKey()),
      fd_(std::move(source.fd)) {}

bool PinFileCore::IsOurs() const {
  return cookie_ == ProcessCookie();
}

void PinFileCore::Apply(PinFileEvent event) {
  const PinFileState next = Next(state_.load(std::memory_order_relaxed), event);
  LINCHPIN_CHECK(next != pin_file_table::kNever);
  state_.store(next, std::memory_order_release);
}

std::string PinFileCore::Title() const {
  return name_.empty() ? absl::StrCat("the pin file ", id_)
                       : absl::StrCat("the pin file ", id_, " (", name_, ")");
}

absl::Status PinFileCore::InChild() const {
  return absl::FailedPreconditionError(absl::StrCat(
      Title(), " belongs to the process that this one was forked from; make one here"));
}

absl::Status PinFileCore::BeginClaim(PinFileClient& client) {
  if (!IsOurs()) return InChild();
  const char* reason = nullptr;
  {
    const MutexLock lock(mutex_);
    if (state() == PinFileState::kAlive) {
      ++clients_[&client].claims;
      ++claims_;
      return absl::OkStatus();
    }
    reason = reason_;
  }
  return absl::FailedPreconditionError(absl::StrCat(
      Title(), " has ended: ", reason, "; make another PinFile for what is pinned from now on"));
}

bool PinFileCore::Guards(std::uint64_t device, std::uint64_t inode) const {
  return guard_ != nullptr && guard_->device() == device && guard_->inode() == inode &&
         guard_->holds();
}

void PinFileCore::KeepDirty(const std::vector<Range>& ranges) {
  if (!IsOurs()) return;
  const MutexLock lock(mutex_);
  for (const Range& range : ranges) unsynced_.Add(range);
}

void PinFileCore::OnReady(std::uint32_t events) {
  constexpr std::uint32_t kGone = EPOLLHUP | EPOLLERR | EPOLLRDHUP;
  {
    const MutexLock lock(mutex_);
    if (!watched_) return;
    if ((events & kGone) == 0 && drained_) {
      Drain(fd_.get());
      return;
    }
    watcher_.Unwatch(fd_.get());
    watched_ = false;
  }
  End(ended_by_source_, grace_);
}

void PinFileCore::OnLeaseSignal() {
  if (guard_ == nullptr || guard_->holds()) return;
  End("its guard gave way: the file is to be truncated or written by others",
      std::min(grace_, LeaseGrace()));
}

void PinFileCore::End(const char* reason, Clock::duration grace) {
  {
    const MutexLock lock(mutex_);
    if (state() == PinFileState::kAlive) reason_ = reason;
    Apply(PinFileEvent::kEnded);
    deadline_ = std::min(deadline_, Clock::now() + grace);
    changed_.NotifyAll();
  }
  Advance();
}

void PinFileCore::Forsake() {
  if (!IsOurs()) {
    CloseInChild();
    return;
  }
  {
    const MutexLock lock(mutex_);
    if (state() == PinFileState::kAlive) reason_ = "it was destroyed";
    Apply(PinFileEvent::kEnded);
  }
  FinishIfDone();
  // Clients are not called on a thread that only lets go.
  if (state() == PinFileState::kClosing) watcher_.WakeAt(key_, Clock::now());
}

void PinFileCore::CloseInChild() {
  fd_.Reset(-1);
}

bool PinFileCore::TakeClosing() {
  const MutexLock lock(mutex_);
  return state() == PinFileState::kClosing && !std::exchange(closing_told_, true);
}

bool PinFileCore::TakeRevoke() {
  Clock::time_point later;
  {
    const MutexLock lock(mutex_);
    if (state() != PinFileState::kClosing || claims_ == 0) return false;
    if (deadline_ <= Clock::now()) {
      Apply(PinFileEvent::kGraceOver);
      return true;
    }
    later = deadline_;
  }
  if (later != Clock::time_point::max()) watcher_.WakeAt(key_, later);
  return false;
}

void PinFileCore::Advance() {
  if (TakeClosing()) {
    ForEachClient(Told::kClosing, [this](PinFileClient& client) { client.OnClosing(*this); });
  }
  if (TakeRevoke()) {
    ForEachClient(Told::kRevoke, [this](PinFileClient& client) { client.OnRevoke(*this); });
  }
  FinishIfDone();
}

void PinFileCore::FinishIfDone() {
  {
    const MutexLock lock(mutex_);
    if (state() == PinFileState::kAlive || claims_ > 0) return;
    if (finishing_.load(std::memory_order_relaxed)) return;
    Apply(PinFileEvent::kNoClaims);
    finishing_.store(true, std::memory_order_release);
  }
  if (guard_ != nullptr) guard_->impl_->LetGo();
  {
    const MutexLock lock(mutex_);
    ReleaseDescriptor();  // Whoever waits at the other end hears that all is deregistered.
    finished_ = true;
    changed_.NotifyAll();
  }
  watcher_.Remove(key_);
}

void PinFileCore::ReleaseDescriptor() {
  if (watched_) watcher_.Unwatch(fd_.get());
  watched_ = false;
  fd_.Reset(-1);
}

absl::Status PinFileCore::Revoke(absl::Duration timeout, const char* reason) {
  if (!IsOurs()) return InChild();
  const Clock::duration patience = Bounded(timeout);
  const Clock::time_point limit = Clock::now() + patience + kLate;
  End(reason, std::min(grace_, patience));
  std::uint64_t left = 0;
  for (bool due = false;; due = true) {
    if (due) Advance();
    const MutexLock lock(mutex_);
    while (!finished_ && Clock::now() < limit &&
           (state() != PinFileState::kClosing || Clock::now() < deadline_)) {
      const bool closing = state() == PinFileState::kClosing;
      changed_.WaitUntil(mutex_, closing ? std::min(limit, deadline_) : limit);
    }
    if (finished_) return absl::OkStatus();
    left = claims_;
    if (Clock::now() >= limit) break;
  }
  return absl::DeadlineExceededError(absl::StrCat(left, " pins or leases of ", Title(),
                                                  " are not deregistered yet; they will be"));
}

absl::Status PinFileCore::Close() {
  absl::Status revoked = Revoke(absl::ZeroDuration(), "it was closed");
  if (!IsOurs()) return revoked;
  const MutexLock lock(mutex_);
  ReleaseDescriptor();
  return revoked;
}

const std::shared_ptr<PinFileCore>& PinFileCore::Of(const PinFile& file) {
  return file.core_;
}

}  // namespace linchpin::internal
