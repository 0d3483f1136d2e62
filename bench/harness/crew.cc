#include "bench/harness/crew.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace linchpin::bench {
namespace {

double Now() {
  return std::chrono::duration<double, std::nano>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Binds `thread` to the `nth` CPU that the process may use, counted around. That it could not be
// bound makes its times worse, not wrong.
void BindToCpu(std::thread& thread, std::size_t nth) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  std::vector<std::size_t> cpus;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpus[nth % cpus.size()], &one);
  pthread_setaffinity_np(thread.native_handle(), sizeof(one), &one);
}

}  // namespace

Crew::Crew(std::size_t threads) : times_(threads) {
  for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this, i] { Serve(i); });
  if (threads == 1) return;
  for (std::size_t i = 0; i < threads; ++i) BindToCpu(threads_[i], i);
}

Crew::~Crew() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

double Crew::Run(const std::function<void(std::size_t thread)>& work) {
  std::unique_lock lock(mutex_);
  work_ = &work;
  ready_ = 0;
  running_ = threads_.size();
  ++generation_;
  wanted_.notify_all();
  done_.wait(lock, [this] { return running_ == 0; });
  double start_ns = times_.front().start_ns;
  double end_ns = times_.front().end_ns;
  for (const Times& times : times_) {
    start_ns = std::min(start_ns, times.start_ns);
    end_ns = std::max(end_ns, times.end_ns);
  }
  return end_ns - start_ns;
}

void Crew::Serve(std::size_t thread) {
  std::size_t served = 0;
  for (;;) {
    const std::function<void(std::size_t)>* work = nullptr;
    {
      std::unique_lock lock(mutex_);
      wanted_.wait(lock, [&] { return ending_ || generation_ != served; });
      if (ending_) return;
      served = generation_;
      work = work_;
    }
    // Waking takes as long as a scheduler likes: who is awake first waits for the others.
    ++ready_;
    while (ready_ != threads_.size()) std::this_thread::yield();
    times_[thread].start_ns = Now();
    (*work)(thread);
    times_[thread].end_ns = Now();
    const std::scoped_lock lock(mutex_);
    if (--running_ == 0) done_.notify_one();
  }
}

}  // namespace linchpin::bench
