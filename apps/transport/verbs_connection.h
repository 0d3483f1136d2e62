// VerbsConnection: two RC queue pairs of this process, connected to each other through the device.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"

#include "apps/transport/verbs_context.h"
#include "apps/transport/verbs_handle.h"
#include "apps/transport/verbs_pieces.h"

namespace linchpin {

class VerbsConnection final {
 public:
  // Returns: the connection, ready to send. Its queue has room for `queue_slots` work requests, or
  // for as many as the device allows.
  static absl::StatusOr<std::unique_ptr<VerbsConnection>> Create(
      std::shared_ptr<const VerbsContext> device, std::size_t queue_slots);

  ibv_qp* requester() const { return requester_.get(); }
  ibv_cq* completions() const { return completions_.get(); }
  std::size_t slots() const { return slots_; }
  RequestLimits request_limits() const { return request_limits_; }

 private:
  explicit VerbsConnection(std::shared_ptr<const VerbsContext> device)
      : device_(std::move(device)) {}

  absl::Status CreateQueues(std::size_t queue_slots);
  absl::StatusOr<QpPtr> CreateQueuePair();
  absl::Status Connect(ibv_qp* from, ibv_qp* to) const;
  absl::Status ToInit(ibv_qp* qp) const;
  absl::Status ToReadyToReceive(ibv_qp* qp, const ibv_qp* peer) const;
  absl::Status ToReadyToSend(ibv_qp* qp) const;
  std::uint8_t OutstandingReads() const;

  // Destroyed from the last to the first: the requester first, so that nothing is sent any more;
  // then the responder, after which no memory is reached any more.
  const std::shared_ptr<const VerbsContext> device_;
  CqPtr completions_;  // Of both; the responder has none to give.
  QpPtr responder_;
  QpPtr requester_;
  std::size_t slots_ = 0;
  RequestLimits request_limits_;
};

}  // namespace linchpin
