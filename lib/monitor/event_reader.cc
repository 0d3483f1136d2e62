// What a hit may rely on. The kernel frees the addresses, then the thread that unmaps waits until
// its event is read (not handled), and only then counts itself as no longer outstanding:
//
//   thread that unmaps              reader                            Settle()
//   ------------------              ------                            --------
//   outstanding += 1
//   the range becomes free
//   queue the event, wait           poll returns
//                                   epoch := odd              (1)
//                                   read(): takes the event   (2)
//   wakes up
//   outstanding -= 1        (3)                                       outstanding is 0?         (4)
//   munmap returns                  table and listeners told  (5)     epoch is odd?             (6)
//                                   epoch := even             (7)     wait until it has moved
//
// While (4) sees outstanding above 0, an event may be unread, and it asks again. When it sees 0
// because of (3), then (2) was before, and so was (1): (6) sees the epoch of (1) or a later one. If
// that is even, (7) was before it and so was (5); if it is odd, it is waited for until (7). An
// munmap that has not begun when (4) asks has freed nothing before the call.
#include "lib/monitor/event_reader.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <optional>
#include <utility>

#include "lib/base/backoff.h"
#include "lib/base/error.h"
#include "lib/base/everywhere.h"

namespace linchpin {

absl::Status EventReader::Start() {
  stop_ = ForkClosedFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_.valid()) {
    return ErrnoToStatus(errno, "making an eventfd", "raise RLIMIT_NOFILE (ulimit -n)");
  }
  auto thread = Thread::Start("linchpin-watch", [this] { Run(); });
  if (!thread.ok()) return thread.status();
  thread_ = *std::move(thread);
  // Nothing may be armed before the thread is in Run(). Until then it runs what the C library and
  // sanitizers do in a thread that starts, and that may allocate (docs/concurrency.md, M10): what
  // holds for the reader does not hold yet.
  reading_.wait(false);
  return absl::OkStatus();
}

bool EventReader::Stop() {
  if (!thread_.joinable()) return true;
  const std::uint64_t one = 1;
  if (write(stop_.get(), &one, sizeof one) != sizeof one && !failed()) {
    thread_.Detach();
    return false;
  }
  thread_.Join();
  return true;
}

void EventReader::Run() {
  reading_ = true;
  reading_.notify_one();
  std::array<pollfd, 2> polled{{{userfault_.fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}}};
  while (!failed()) {
    if (poll(polled.data(), polled.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return Fail();
    }
    if (polled[1].revents != 0) return;
    if (polled[0].revents == 0) continue;
    if ((polled[0].revents & POLLIN) == 0) return Fail();
    while (ReadBatch()) {
    }
  }
}

// Returns: whether there may be more. The epoch moves with each batch, so that who waits for it
// waits for no later events than those it has to.
bool EventReader::ReadBatch() {
  constexpr std::size_t kBatch = 64;
  std::array<uffd_msg, kBatch> events{};
  epoch_.fetch_add(1, std::memory_order_seq_cst);  // (1), before the read.
  const std::ptrdiff_t count = userfault_.Read(events);
  if (count < 0) Fail();
  for (std::ptrdiff_t i = 0; i < count; ++i) Handle(events[static_cast<std::size_t>(i)]);
  epoch_.fetch_add(1, std::memory_order_release);  // (7), pairs with Settle.
  return count > 0;
}

// The table hears first: who tries again because a listener was told must not find the old extent.
void EventReader::Handle(const uffd_msg& event) {
  switch (event.event) {
    case UFFD_EVENT_UNMAP:
    case UFFD_EVENT_REMOVE: {
      const Range range{event.arg.remove.start, event.arg.remove.end};
      if (event.event == UFFD_EVENT_REMOVE) {
        extents_.Discarded(range);
      } else {
        extents_.Changed(range);
      }
      listeners_.Tell(range);
      return;
    }
    case UFFD_EVENT_REMAP: {
      const auto& moved = event.arg.remap;
      const Range from{moved.from, moved.from + moved.len};
      const Range to{moved.to, moved.to + moved.len};
      extents_.Moved(from, to);
      listeners_.Tell(from);
      listeners_.Tell(to);
      return;
    }
    case UFFD_EVENT_PAGEFAULT:
      userfault_.ResolveFault(event.arg.pagefault.address);
      return;
    default:  // There is no other that we ask for. What it means for memory nobody knows.
      TellEverything();
  }
}

void EventReader::TellEverything() {
  extents_.Changed(kEverywhere);
  listeners_.Tell(kEverywhere);
}

void EventReader::Fail() {
  extents_.Close();
  listeners_.Tell(kEverywhere);
}

// Returns: whether there was a moment with nothing outstanding. Not when events keep coming in such
// numbers that there may never be one, nor when the kernel lost count.
bool EventReader::WaitForOutstanding() {
  constexpr std::uint64_t kStormBatches = 1024;
  constexpr std::chrono::seconds kStuck(1);
  const std::uint64_t first_epoch = epoch_.load(std::memory_order_relaxed);
  std::optional<std::chrono::steady_clock::time_point> since;
  Backoff backoff;
  for (;;) {
    const int answer = userfault_.AskOutstanding();  // (4)
    if (answer == EINVAL) return true;
    if (answer != EAGAIN) {
      // Broken. The reader does not notice before the next event, which it could not read.
      if (!failed()) Fail();
      return false;
    }
    const auto now = std::chrono::steady_clock::now();
    if (!since) since = now;
    if (now - *since > kStuck) return false;
    if (epoch_.load(std::memory_order_relaxed) - first_epoch > 2 * kStormBatches) return false;
    backoff.Pause();
  }
}

bool EventReader::TrySettle() {
  if (failed() || !WaitForOutstanding()) return false;
  // (4) is before (6) without a fence: the kernel has branched on what it read, and returned.
  const std::uint64_t epoch = epoch_.load(std::memory_order_acquire);  // (6), pairs with (7).
  if (epoch % 2 == 0) return true;
  Backoff backoff;
  while (epoch_.load(std::memory_order_acquire) == epoch) backoff.Pause();
  return true;
}

void EventReader::Settle() {
  if (!TrySettle() && !failed()) TellEverything();
}

}  // namespace linchpin
