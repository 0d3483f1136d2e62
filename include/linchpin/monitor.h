#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/range.h"

namespace linchpin {

// What a monitor will tell about a piece of memory.
enum class Coverage : std::uint8_t {
  kNone,            // Nothing that can be relied on.
  kMappingChanges,  // That the mapping changed; not that its file was truncated or punched, or that
                    // pages go which MADV_DONTNEED discarded a moment ago.
  kAll,             // Every event by which the memory can lose its pages.
};

// A piece of the address space as a monitor found it.
struct WatchedExtent {
  // Whole pages around the range asked for, in which kind, protection and backing are the same.
  // Where the range asked for crosses such a border, or a hole, just the pages of the range itself.
  Range range;
  bool uniform = false;                 // No border, no hole inside `range`.
  Coverage coverage = Coverage::kNone;  // The least of the mappings that `range` touches.
  bool passing = false;                 // `coverage` is yet to rise: nothing may be kept on it.
  std::size_t page_size = 4096;  // The largest of the mappings that `range` touches, in bytes.
  // The file of the first of the mappings that has one: makedev() and inode; 0, 0 if none has.
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
};

// Says that the process's mappings changed. One monitor serves any number of caches.
//
// Thread-safety: all calls may be made at once from any threads.
class MemoryMonitor {
 public:
  // Hears of changes. Called on the monitor's own thread, which must never wait for memory
  // management: an implementation may not allocate, free, map, unmap, log, or wait for anyone who
  // does (the thread that unmaps is blocked until the event is read). A monitor that cannot go on
  // calls it from Settle or Watch too, so neither may be called with a lock held that it takes.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnChanged(Range range) = 0;
  };

  virtual ~MemoryMonitor() = default;

  // The process's own monitor, made on first use and kept while anyone holds it: userfaultfd where
  // the process may use it, else one that watches nothing. A forked child gets a new one.
  // Returns: never null; why it watches nothing, if so, is its status().
  static std::shared_ptr<MemoryMonitor> Shared();

  // After AddListener returns, `listener` hears every change; after RemoveListener returns, it is
  // not being called and never will be. A forked child must not call either on an inherited
  // monitor.
  virtual void AddListener(Listener* listener) = 0;
  virtual void RemoveListener(Listener* listener) = 0;

  // Finds out what `range` is and begins to watch it. Every change of the extent after the return
  // is told to each listener. What was found is remembered until an event touches it; `look_again`
  // asks for a fresh look, for changes that make no event, like mprotect. Cannot fail: what cannot
  // be watched is Coverage::kNone.
  virtual WatchedExtent Watch(Range range, bool look_again) = 0;

  // The application says that `range` changed in a way that makes no event: what is remembered of
  // it is forgotten, and the next Watch looks afresh. Tells no listener.
  virtual void Forget(Range range) = 0;

  // Returns once every change that freed addresses before the call has been told to each listener.
  // Cheap when there is none; not to be called by a listener.
  virtual void Settle() = 0;

  // How a cache may hit without calling Settle() each time.
  struct Pace {
    // Odd from before the monitor takes notice of a change until it has told it: a thread that
    // finds it even misses no change by a thread that it has synchronised with. Lives as long as
    // the monitor. Null: Settle() before every acquire.
    const std::atomic<std::uint64_t>* epoch = nullptr;
    // For so long after a thread began to settle, no address freed since can have been given to
    // anyone. max(): there is never anything to settle.
    std::chrono::nanoseconds settle_interval{0};
  };
  // The same at any time.
  virtual Pace pace() const { return {}; }

  // Returns: OK when the monitor watches; otherwise why not and what to do about it.
  virtual absl::Status status() const = 0;
};

// Watches through userfaultfd in write-protect mode, without privilege and without page faults to
// resolve. One a process is enough, and a second one cannot watch what the first does.
class UserfaultMonitor {
 public:
  // Returns: the monitor, its thread running; Unavailable when the kernel, a sysctl or seccomp
  // refuses userfaultfd, with what to change. Nothing is half made on error.
  static absl::StatusOr<std::shared_ptr<MemoryMonitor>> Create();
};

// Watches nothing by itself: the application says what changed, for all caches that use it. Private
// anonymous memory counts as watched, because whoever calls Changed() is the monitor.
class ManualMonitor final : public MemoryMonitor {
 public:
  ManualMonitor();
  ~ManualMonitor() override;
  ManualMonitor(const ManualMonitor&) = delete;
  ManualMonitor& operator=(const ManualMonitor&) = delete;

  // Tells every listener that `range` changed. To be called before its pages are given back.
  void Changed(Range range);

  void AddListener(Listener* listener) override;
  void RemoveListener(Listener* listener) override;
  WatchedExtent Watch(Range range, bool look_again) override;
  void Forget(Range range) override;  // It remembers nothing.
  void Settle() override;
  Pace pace() const override;  // Changed() has told before it returns.
  absl::Status status() const override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace linchpin
