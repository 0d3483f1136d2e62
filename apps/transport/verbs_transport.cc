#include "apps/transport/verbs_transport.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

#include "apps/transport/verbs_completion.h"
#include "lib/base/error.h"

namespace linchpin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kDepth = 128;
// Long transfers take several work requests each.
constexpr std::size_t kQueueSlots = 2 * kDepth;
constexpr int kCompletionsAtOnce = 16;
// Many times what retransmission takes: a device that says nothing for so long never will.
constexpr std::chrono::seconds kNoProgress{30};
constexpr int kSpins = 10000;  // About a millisecond; then others get the processor.
constexpr std::chrono::microseconds kNap{20};

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> VerbsTransport::Create(
    std::shared_ptr<const VerbsContext> device, std::shared_ptr<Registrar> registrar) {
  std::unique_ptr<VerbsTransport> made(new VerbsTransport(std::move(device), std::move(registrar)));
  if (absl::Status connected = made->Connect(); !connected.ok()) return connected;
  made->depth_ = std::min(kDepth, made->connection_->slots());
  return made;
}

absl::Status VerbsTransport::Connect() {
  auto connection = VerbsConnection::Create(device_, kQueueSlots);
  if (!connection.ok()) return connection.status();
  connection_ = *std::move(connection);
  return absl::OkStatus();
}

// A queue pair in error is thrown away and not reset: destroying both ends is what makes sure that
// none of their work requests reaches memory any more.
void VerbsTransport::Disconnect() {
  connection_.reset();
  transfers_.clear();
  done_ = requests_ = 0;
  failed_ = false;
}

absl::Status VerbsTransport::Post(const Transfer& transfer) {
  if (absl::Status checked = CheckPost(transfer); !checked.ok()) return checked;
  const bool atomic = transfer.operation == Operation::kCompareAndSwap;
  if (atomic && device_->attributes.atomic_cap == IBV_ATOMIC_NONE) {
    return absl::UnimplementedError(
        absl::StrCat("device ", device_->name, " has no atomic operations"));
  }
  if (connection_ == nullptr) {
    if (absl::Status connected = Connect(); !connected.ok()) return connected;
  }
  transfers_.push_back({.requests = 1});
  Posted& posted = transfers_.back();    // A deque moves nothing that stays.
  if (failed_) return absl::OkStatus();  // Flushed before it began.
  if (absl::Status done = PostPieces(transfer, posted); !done.ok()) return done;
  --posted.requests;
  CountDone();
  return absl::OkStatus();
}

absl::Status VerbsTransport::PostPieces(const Transfer& transfer, Posted& posted) {
  if (transfer.operation == Operation::kCompareAndSwap && transfer.remote.address % 8 != 0) {
    // Some providers refuse to post it; here it always ends as the responder would have ended it.
    posted.completion = Completion::kRemoteInvalidRequest;
    return absl::OkStatus();
  }
  Piece piece;
  for (Pieces pieces(transfer, connection_->request_limits()); pieces.more();) {
    while (requests_ == connection_->slots()) {
      if (absl::Status waited = WaitForCompletions(); !waited.ok()) return waited;
      if (failed_) return absl::OkStatus();
    }
    pieces.Next(piece);
    if (const int error = PostPiece(transfer, piece); error != 0) {
      if (posted.requests > 1) {  // Part of it is under way: it ends as a failed transfer.
        posted.completion = Completion::kGeneralError;
        return absl::OkStatus();
      }
      transfers_.pop_back();
      return ErrnoToStatus(error, absl::StrCat("ibv_post_send on ", device_->name),
                           "connect again");
    }
    ++posted.requests;
    ++requests_;
  }
  return absl::OkStatus();
}

int VerbsTransport::PostPiece(const Transfer& transfer, Piece& piece) {
  ibv_send_wr request{};
  request.sg_list = piece.extents.data();
  request.num_sge = piece.count;
  request.send_flags = IBV_SEND_SIGNALED;
  if (transfer.operation == Operation::kCompareAndSwap) {
    request.opcode = IBV_WR_ATOMIC_CMP_AND_SWP;
    request.wr.atomic = {.remote_addr = piece.remote_address,
                         .compare_add = transfer.compare,
                         .swap = transfer.swap,
                         .rkey = transfer.remote.rkey};
  } else {
    const bool write = transfer.operation == Operation::kWrite;
    request.opcode = write ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
    request.wr.rdma = {.remote_addr = piece.remote_address, .rkey = transfer.remote.rkey};
  }
  ibv_send_wr* refused = nullptr;
  return ibv_post_send(connection_->requester(), &request, &refused);
}

absl::StatusOr<Completion> VerbsTransport::Poll() {
  if (transfers_.empty()) {
    return absl::FailedPreconditionError("no transfer is outstanding; Post one");
  }
  while (done_ == 0) {
    if (absl::Status waited = WaitForCompletions(); !waited.ok()) return waited;
  }
  const Completion completion = transfers_.front().completion;
  transfers_.pop_front();
  --done_;
  if (completion != Completion::kSuccess) Disconnect();
  return completion;
}

// Returns: OK once at least one more completion was taken; otherwise disconnected.
absl::Status VerbsTransport::WaitForCompletions() {
  std::array<ibv_wc, kCompletionsAtOnce> taken{};
  Clock::time_point deadline = Clock::time_point::max();
  for (int polls = 0;; ++polls) {
    // Looked at before the poll, so that a process that was stopped meanwhile polls once more.
    const bool too_late = polls > kSpins && Clock::now() > deadline;
    const int count = ibv_poll_cq(connection_->completions(), kCompletionsAtOnce, taken.data());
    if (count < 0) {
      Disconnect();
      return ErrnoToStatus(EIO, absl::StrCat("ibv_poll_cq on ", device_->name), "connect again");
    }
    for (int i = 0; i < count; ++i) TakeCompletion(taken[static_cast<std::size_t>(i)].status);
    if (count > 0) return absl::OkStatus();
    if (too_late) return NoProgress();
    if (polls == kSpins) deadline = Clock::now() + kNoProgress;
    if (polls > kSpins) std::this_thread::sleep_for(kNap);
  }
}

absl::Status VerbsTransport::NoProgress() {
  const std::size_t lost = transfers_.size();
  Disconnect();
  return absl::DeadlineExceededError(absl::StrCat(
      "device ", device_->name, " completed none of ", lost, " outstanding transfers in ",
      kNoProgress.count(), " s; see the kernel log for what it waits for"));
}

// Completions come in the order of posting, so each belongs to the first transfer not done.
void VerbsTransport::TakeCompletion(ibv_wc_status status) {
  if (failed_) return;  // The flush of what stood behind the failure.
  Posted& posted = transfers_[done_];
  --posted.requests;
  --requests_;
  if (status == IBV_WC_SUCCESS) {
    CountDone();
    return;
  }
  posted.completion = CompletionOf(status, IsActive(device_->context.get(), device_->port));
  ++done_;
  failed_ = true;
}

void VerbsTransport::CountDone() {
  while (!failed_ && done_ < transfers_.size() && transfers_[done_].requests == 0) ++done_;
}

}  // namespace linchpin
