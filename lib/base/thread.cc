#include "lib/base/thread.h"

#include <csignal>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/check.h"
#include "lib/base/error.h"

namespace linchpin {
namespace {

void* RunBody(void* argument) {
  const std::unique_ptr<std::function<void()>> body(static_cast<std::function<void()>*>(argument));
  (*body)();
  return nullptr;
}

}  // namespace

Thread::Thread(Thread&& other) noexcept
    : thread_(other.thread_), started_(std::exchange(other.started_, false)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  LINCHPIN_CHECK(!started_);
  thread_ = other.thread_;
  started_ = std::exchange(other.started_, false);
  return *this;
}

Thread::~Thread() {
  LINCHPIN_CHECK(!started_);
}

absl::StatusOr<Thread> Thread::Start(const std::string& name, std::function<void()> body) {
  auto argument = std::make_unique<std::function<void()>>(std::move(body));
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // A new thread inherits the mask.
  Thread thread;
  const int error = pthread_create(&thread.thread_, nullptr, RunBody, argument.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    return ErrnoToStatus(error, absl::StrCat("starting the thread ", name),
                         "raise RLIMIT_NPROC (ulimit -u) or the cgroup's pids.max");
  }
  static_cast<void>(argument.release());  // RunBody owns it.
  thread.started_ = true;
  pthread_setname_np(thread.thread_, name.substr(0, 15).c_str());
  return thread;
}

bool Thread::IsCurrent() const {
  return started_ && pthread_equal(thread_, pthread_self()) != 0;
}

void Thread::Join() {
  LINCHPIN_CHECK(started_);
  pthread_join(thread_, nullptr);
  started_ = false;
}

void Thread::Detach() {
  LINCHPIN_CHECK(started_);
  pthread_detach(thread_);
  started_ = false;
}

void Thread::Forget() {
  started_ = false;
}

}  // namespace linchpin
