#include "apps/transport/verbs_connection.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"

namespace linchpin {
namespace {

// 4.096 us * 2^14 = 67 ms, as perftest has it. On rxe several retransmissions in ten thousand
// packets are usual, and each costs a time-out; 7 retries are without end there, so that a peer
// that is starved of processors does not pass for a dead one.
constexpr std::uint8_t kTimeout = 14;
constexpr std::uint8_t kRetries = 7;
constexpr std::uint8_t kRnrTimer = 12;  // 0.64 ms. Nothing here ever waits for a receive request.
constexpr std::uint8_t kMaxOutstandingReads = 16;
constexpr std::uint8_t kHopLimit = 64;

absl::Status QueueError(int error, std::string_view what, const std::string& device) {
  return ErrnoToStatus(error != 0 ? error : EIO,
                       absl::StrCat(absl::string_view(what.data(), what.size()), " on ", device),
                       "close other users of the device, or raise RLIMIT_MEMLOCK (ulimit -l)");
}

absl::Status ModifyError(int error, const char* state, const std::string& device) {
  if (error == 0) return absl::OkStatus();
  return ErrnoToStatus(error, absl::StrCat("queue pair to ", state, " on ", device),
                       "check that the device's port is up and has an address (ibv_devinfo -v)");
}

// Both ends take their own number as their first sequence number: any will do that both know.
std::uint32_t FirstPsn(const ibv_qp* qp) {
  return qp->qp_num & 0xffffff;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VerbsConnection>> VerbsConnection::Create(
    std::shared_ptr<const VerbsContext> device, std::size_t queue_slots) {
  std::unique_ptr<VerbsConnection> made(new VerbsConnection(std::move(device)));
  if (absl::Status created = made->CreateQueues(queue_slots); !created.ok()) return created;
  ibv_qp* const requester = made->requester_.get();
  ibv_qp* const responder = made->responder_.get();
  if (absl::Status done = made->Connect(responder, requester); !done.ok()) return done;
  if (absl::Status done = made->Connect(requester, responder); !done.ok()) return done;
  return made;
}

absl::Status VerbsConnection::CreateQueues(std::size_t queue_slots) {
  const ibv_device_attr& device = device_->attributes;
  const auto limit = [](std::size_t value, int most) {
    return most > 0 ? std::min(value, static_cast<std::size_t>(most)) : value;
  };
  slots_ = limit(limit(queue_slots, device.max_qp_wr), device.max_cqe - 1);
  request_limits_.extents = limit(limit(kMaxPieceExtents, device.max_sge), device.max_sge_rd);
  request_limits_.bytes = device_->port.max_message_bytes;

  errno = 0;
  // One more than can be outstanding: an overrun would be fatal.
  completions_.reset(
      ibv_create_cq(device_->context.get(), static_cast<int>(slots_ + 1), nullptr, nullptr, 0));
  if (completions_ == nullptr) return QueueError(errno, "ibv_create_cq", device_->name);
  for (QpPtr* qp : {&responder_, &requester_}) {
    auto created = CreateQueuePair();
    if (!created.ok()) return created.status();
    *qp = *std::move(created);
  }
  return absl::OkStatus();
}

absl::StatusOr<QpPtr> VerbsConnection::CreateQueuePair() {
  ibv_qp_init_attr attributes{};
  attributes.send_cq = completions_.get();
  attributes.recv_cq = completions_.get();
  attributes.qp_type = IBV_QPT_RC;
  attributes.cap.max_send_wr = static_cast<std::uint32_t>(slots_);
  attributes.cap.max_send_sge = static_cast<std::uint32_t>(request_limits_.extents);
  attributes.cap.max_recv_wr = 1;
  attributes.cap.max_recv_sge = 1;
  errno = 0;
  QpPtr qp(ibv_create_qp(device_->pd.get(), &attributes));
  if (qp == nullptr) return QueueError(errno, "ibv_create_qp", device_->name);
  return qp;
}

absl::Status VerbsConnection::Connect(ibv_qp* from, ibv_qp* to) const {
  if (absl::Status done = ToInit(from); !done.ok()) return done;
  if (absl::Status done = ToReadyToReceive(from, to); !done.ok()) return done;
  return ToReadyToSend(from);
}

absl::Status VerbsConnection::ToInit(ibv_qp* qp) const {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.pkey_index = 0;
  attributes.port_num = device_->port.number;
  attributes.qp_access_flags =
      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  if (device_->attributes.atomic_cap != IBV_ATOMIC_NONE) {
    attributes.qp_access_flags |= IBV_ACCESS_REMOTE_ATOMIC;
  }
  const int mask = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS;
  return ModifyError(ibv_modify_qp(qp, &attributes, mask), "INIT", device_->name);
}

absl::Status VerbsConnection::ToReadyToReceive(ibv_qp* qp, const ibv_qp* peer) const {
  const VerbsPort& port = device_->port;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = port.mtu;
  attributes.dest_qp_num = peer->qp_num;
  attributes.rq_psn = FirstPsn(peer);
  attributes.max_dest_rd_atomic = OutstandingReads();
  attributes.min_rnr_timer = kRnrTimer;
  attributes.ah_attr.port_num = port.number;
  attributes.ah_attr.dlid = port.lid;
  if (port.by_gid) {
    attributes.ah_attr.is_global = 1;
    attributes.ah_attr.grh.dgid = port.gid;
    attributes.ah_attr.grh.sgid_index = port.gid_index;
    attributes.ah_attr.grh.hop_limit = kHopLimit;
  }
  const int mask = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                   IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER;
  return ModifyError(ibv_modify_qp(qp, &attributes, mask), "RTR", device_->name);
}

absl::Status VerbsConnection::ToReadyToSend(ibv_qp* qp) const {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.sq_psn = FirstPsn(qp);
  attributes.timeout = kTimeout;
  attributes.retry_cnt = kRetries;
  attributes.rnr_retry = kRetries;
  attributes.max_rd_atomic = OutstandingReads();
  const int mask = IBV_QP_STATE | IBV_QP_SQ_PSN | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                   IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
  return ModifyError(ibv_modify_qp(qp, &attributes, mask), "RTS", device_->name);
}

std::uint8_t VerbsConnection::OutstandingReads() const {
  const ibv_device_attr& device = device_->attributes;
  const int most = std::min(device.max_qp_rd_atom, device.max_qp_init_rd_atom);
  return static_cast<std::uint8_t>(std::clamp<int>(most, 0, kMaxOutstandingReads));
}

}  // namespace linchpin
