#include "lib/registrar/loopback/ring.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"

#include "lib/base/check.h"
#include "lib/base/error.h"

namespace linchpin::loopback {
namespace {

// The kernel posts this completion when it has let go of an unpinned buffer.
constexpr std::uint64_t kReleased = std::uint64_t{1} << 63;

// How often a submission is tried while the kernel is short of memory for it, a millisecond apart.
constexpr int kTriesMax = 1000;

absl::Status Unavailable(int error) {
  std::ifstream file("/proc/sys/kernel/io_uring_disabled");
  std::string disabled;
  if (std::getline(file, disabled) && disabled != "0") {
    return absl::UnavailableError(absl::StrCat(
        "io_uring is disabled on this machine: ", ErrnoText(error),
        "; set kernel.io_uring_disabled to 0 (it is ", disabled,
        "), or to 1 and give the process CAP_SYS_ADMIN or the group kernel.io_uring_group"));
  }
  return absl::UnavailableError(absl::StrCat(
      "io_uring is not allowed for this process: ", ErrnoText(error),
      "; allow io_uring_setup, io_uring_enter and io_uring_register in the container's "
      "seccomp profile"));
}

absl::Status OpenError(int error, const char* what) {
  switch (error) {
    case EPERM:
    case EACCES:
    case ENOSYS:
      return Unavailable(error);
    case EINVAL:
      return absl::UnavailableError(absl::StrCat(
          what, ": ", ErrnoText(error), "; the loopback device needs Linux 5.19 or later"));
    case EMFILE:
    case ENFILE:
      return ErrnoToStatus(error, what, "raise RLIMIT_NOFILE (ulimit -n), or close descriptors");
    case ENOMEM:  // On recent kernels the queues count as locked memory.
      return ErrnoToStatus(error, what, "raise RLIMIT_MEMLOCK (ulimit -l), or free memory");
    default:
      return ErrnoToStatus(error, what, "see io_uring_setup(2)");
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Ring>> Ring::Create() {
  std::unique_ptr<Ring> ring(new Ring);
  if (absl::Status status = ring->Open(); !status.ok()) return status;
  return ring;
}

absl::Status Ring::Open() {
  const FairMutexLock turn(turn_);
  // No SQPOLL: a kernel thread would read the queues while the process forks.
  if (const int error = -io_uring_queue_init(kBatch, &ring_, IORING_SETUP_SUBMIT_ALL); error != 0) {
    return OpenError(error, "io_uring_setup");
  }
  descriptor_ = ForkClosedFd(ring_.ring_fd);
  // A child must not find the queues: what it wrote there would be the parent's.
  if (const int error = -io_uring_ring_dontfork(&ring_); error != 0) {
    return OpenError(error, "madvise(MADV_DONTFORK) of an io_uring");
  }
  if (const int error = -io_uring_register_buffers_sparse(&ring_, kSlots); error != 0) {
    return OpenError(error, "io_uring_register of an empty buffer table");
  }
  // Nothing was asked of io_uring_enter yet, and it too may be forbidden.
  io_uring_prep_nop(io_uring_get_sqe(&ring_));
  Results results{};
  if (const int error = SubmitAndWait(1, results); error != 0) {
    return OpenError(error, "io_uring_enter");
  }
  return absl::OkStatus();
}

Ring::~Ring() {
  if (!descriptor_.valid()) return;
  const FairMutexLock turn(turn_);
  // Explicitly: closing the descriptor unpins nothing while anyone holds a copy of it.
  while (io_uring_unregister_buffers(&ring_) == -EINTR) {
  }
  ring_.ring_fd = -1;  // To be closed by its owner.
  io_uring_queue_exit(&ring_);
}

int Ring::Pin(std::uint32_t slot, Range range) {
  LINCHPIN_CHECK(slot < kSlots);
  iovec buffer{};
  buffer.iov_base = reinterpret_cast<void*>(range.start);
  buffer.iov_len = range.size();
  const __u64 tag = kReleased;
  const FairMutexLock turn(turn_);
  const int updated = io_uring_register_buffers_update_tag(&ring_, slot, &buffer, &tag, 1);
  if (updated == 1) return 0;
  return updated < 0 ? -updated : EIO;
}

int Ring::Unpin(std::uint32_t slot) {
  LINCHPIN_CHECK(slot < kSlots);
  const iovec nothing{};
  const __u64 tag = 0;
  const FairMutexLock turn(turn_);
  const int updated = io_uring_register_buffers_update_tag(&ring_, slot, &nothing, &tag, 1);
  if (updated != 1) return updated < 0 ? -updated : EIO;
  ++unreleased_;
  Results none{};
  Reap(none);
  return 0;
}

bool Ring::FlushUnpinned() {
  {
    const FairMutexLock turn(turn_);
    Results none{};
    Reap(none);
    if (unreleased_ == 0) return false;
  }
  // Before 6.4 a ring drops its buffers and files in one order, a second after the last use of
  // them: a grace period of RCU later, which this waits for, they are in a queue, and unregistering
  // the ring's files flushes it.
  syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
  const FairMutexLock turn(turn_);
  if (io_uring_register_files_sparse(&ring_, 1) == 0) io_uring_unregister_files(&ring_);
  Results none{};
  Reap(none);
  return true;
}

Moved Ring::Move(Direction direction, int pipe, std::span<const PinnedExtent> extents) {
  LINCHPIN_CHECK(!extents.empty() && extents.size() <= kBatch);
  Results results{};
  {
    const FairMutexLock turn(turn_);
    if (broken_) return {0, EIO};
    Queue(direction, pipe, extents);
    if (const int error = SubmitAndWait(extents.size(), results); error != 0) return {0, error};
  }
  Moved moved;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    if (results[i] < 0) {
      moved.error = -results[i];
      break;
    }
    moved.bytes += static_cast<std::size_t>(results[i]);
    if (static_cast<std::size_t>(results[i]) < extents[i].length) break;
  }
  return moved;
}

// Queues a request for each extent, linked: after a short move nothing that follows may move, or
// bytes would change places.
void Ring::Queue(Direction direction, int pipe, std::span<const PinnedExtent> extents) {
  constexpr __u64 kNoOffset = ~__u64{0};
  const int opcode = direction == Direction::kToPipe ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const PinnedExtent& extent = extents[i];
    LINCHPIN_CHECK(extent.slot.ring == this);
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    LINCHPIN_CHECK(sqe != nullptr);
    io_uring_prep_rw(opcode, sqe, pipe, reinterpret_cast<void*>(extent.address),
                     static_cast<unsigned>(extent.length), kNoOffset);
    sqe->buf_index = static_cast<__u16>(extent.slot.index);
    if (i + 1 < extents.size()) sqe->flags = IOSQE_IO_LINK;
    io_uring_sqe_set_data64(sqe, i);
  }
}

// Submits what is queued and collects its `count` results. Returns: 0, or an errno value, after
// which the ring is broken: what the kernel took of the queue is not known.
int Ring::SubmitAndWait(std::size_t count, Results& results) {
  int tries = 0;
  while (count > 0) {
    const int submitted = io_uring_submit_and_wait(&ring_, static_cast<unsigned>(count));
    if (submitted < 0 && submitted != -EINTR) {
      const bool temporary = submitted == -EAGAIN || submitted == -EBUSY;
      if (!temporary || ++tries > kTriesMax) {
        broken_ = true;
        return -submitted;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    count -= Reap(results);
  }
  return 0;
}

// Takes what has completed: results by their index, and releases of unpinned buffers. Returns: the
// number of results.
std::size_t Ring::Reap(Results& results) {
  std::array<io_uring_cqe*, kBatch> completed{};
  std::size_t count = 0;
  while (const unsigned ready = io_uring_peek_batch_cqe(&ring_, completed.data(), kBatch)) {
    for (unsigned i = 0; i < ready; ++i) {
      const io_uring_cqe& cqe = *completed[i];
      if (cqe.user_data == kReleased) {
        --unreleased_;
      } else {
        results.at(cqe.user_data) = cqe.res;
        ++count;
      }
    }
    io_uring_cq_advance(&ring_, ready);
  }
  return count;
}

}  // namespace linchpin::loopback
