// Thread: a thread of the library's own. It blocks every signal (the application's handlers run on
// the application's threads), has a name, and failing to start is a status and no exception.
#pragma once

#include <pthread.h>

#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace linchpin {

class Thread final {
 public:
  Thread() = default;
  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread();  // Requires: joined, detached or never started.

  // Returns: the running thread; ResourceExhausted, with the remedy, when there can be no more.
  // `name` is cut to 15 characters.
  static absl::StatusOr<Thread> Start(const std::string& name, std::function<void()> body);

  bool joinable() const { return started_; }
  bool IsCurrent() const;
  void Join();
  void Detach();
  void Forget();  // In a forked child, where the thread does not exist.

 private:
  pthread_t thread_{};
  bool started_ = false;
};

}  // namespace linchpin
