// Threads that run the same work at once, and are parked between. Two or more are bound to
// different CPUs as far as there are any: left to the scheduler, short work often runs one after
// the other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace linchpin::bench {

class Crew final {
 public:
  explicit Crew(std::size_t threads);
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // Calls work(0), work(1), ... each on its own thread, all of which begin together.
  // Returns: the nanoseconds from the first beginning to the last end.
  double Run(const std::function<void(std::size_t thread)>& work);

 private:
  struct Times {
    double start_ns = 0;
    double end_ns = 0;
  };
  void Serve(std::size_t thread);

  std::mutex mutex_;  // Guards the next four; the conditions are for their changes.
  std::condition_variable wanted_;
  std::condition_variable done_;
  const std::function<void(std::size_t)>* work_ = nullptr;
  std::size_t generation_ = 0;  // Counts the calls of Run.
  std::size_t running_ = 0;
  bool ending_ = false;

  std::atomic<std::size_t> ready_ = 0;  // Threads that are awake for this run.
  std::vector<Times> times_;            // Each written by its own thread.
  std::vector<std::thread> threads_;
};

}  // namespace linchpin::bench
