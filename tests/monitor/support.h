// What the monitor's tests share: a listener that remembers, children that cannot hang the run, and
// a deadline for calls that may block in the kernel.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>

#include "linchpin/monitor.h"

namespace linchpin::testing {

// Remembers what it is told, without allocating. One thread may ask while another tells.
class Recorder final : public MemoryMonitor::Listener {
 public:
  void OnChanged(Range range) override;

  // Whether one of the ranges told contains `range`.
  bool Heard(Range range) const;
  std::size_t count() const { return count_.load(std::memory_order_acquire); }
  void Clear() { count_.store(0, std::memory_order_release); }

 private:
  static constexpr std::size_t kCapacity = 4096;
  std::array<Range, kCapacity> ranges_{};
  std::atomic<std::size_t> count_{0};  // Beyond the capacity only the number is kept.
};

// Adds a recorder for as long as it lives.
class Listening final {
 public:
  explicit Listening(MemoryMonitor& monitor) : monitor_(monitor) {
    monitor_.AddListener(&recorder);
  }
  ~Listening() { monitor_.RemoveListener(&recorder); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  Recorder recorder;

 private:
  MemoryMonitor& monitor_;
};

// Aborts the process if it lives longer than 30 s: an munmap that waits for a reader that is gone
// can be ended by nothing less.
class Deadline final {
 public:
  explicit Deadline(const char* what);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool over_ = false;
  std::thread thread_;
};

enum class Fork { kLibc, kRawClone };

// Starts a child that runs `body` and exits with its result. Returns: the child's pid.
pid_t StartChild(Fork how, const std::function<int()>& body);
// Returns: its exit status, -1 if it did not exit by itself.
int ExitStatus(pid_t child);

inline Range RangeOf(const void* start, std::size_t bytes) {
  const auto at = reinterpret_cast<std::uintptr_t>(start);
  return {at, at + bytes};
}

}  // namespace linchpin::testing
