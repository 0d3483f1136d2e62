// VerbsTransport: transfers on a connection of its own through an RDMA device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "apps/transport/transport.h"
#include "apps/transport/verbs_connection.h"
#include "apps/transport/verbs_context.h"

namespace linchpin {

class VerbsTransport final : public Transport {
 public:
  // Returns: the transport, connected; otherwise why the device makes no queue pairs.
  static absl::StatusOr<std::unique_ptr<Transport>> Create(
      std::shared_ptr<const VerbsContext> device, std::shared_ptr<Registrar> registrar);

  const std::string& device() const override { return device_->name; }
  std::shared_ptr<Registrar> registrar() const override { return registrar_; }
  std::size_t depth() const override { return depth_; }
  std::size_t outstanding() const override { return transfers_.size(); }
  absl::Status Post(const Transfer& transfer) override;
  absl::StatusOr<Completion> Poll() override;

 private:
  // A transfer between Post and Poll.
  struct Posted {
    std::size_t requests =
        0;  // Its work requests in the queue, and 1 more while Post is under way.
    Completion completion = Completion::kSuccess;
  };

  VerbsTransport(std::shared_ptr<const VerbsContext> device, std::shared_ptr<Registrar> registrar)
      : device_(std::move(device)), registrar_(std::move(registrar)) {}

  absl::Status Connect();
  void Disconnect();
  absl::Status PostPieces(const Transfer& transfer, Posted& posted);
  int PostPiece(const Transfer& transfer, Piece& piece);
  absl::Status WaitForCompletions();
  absl::Status NoProgress();
  void TakeCompletion(ibv_wc_status status);
  void CountDone();

  const std::shared_ptr<const VerbsContext> device_;
  const std::shared_ptr<Registrar> registrar_;
  std::size_t depth_ = 0;

  // Null after a failure, until the next Post.
  std::unique_ptr<VerbsConnection> connection_;
  std::deque<Posted> transfers_;  // In the order of posting.
  std::size_t done_ = 0;          // The first `done_` of transfers_ have ended.
  std::size_t requests_ = 0;      // Work requests in the queue: the sum over transfers_.
  bool failed_ = false;           // The queue pair is in error, through the last of those done.
};

}  // namespace linchpin
