// The elements of a list in runs, and work requests made of them.
#include <infiniband/verbs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/strings/str_cat.h"

#include "linchpin/scatter_list.h"

namespace linchpin {
namespace {

// As many elements from `begin` on as `limits` allow. Without any, an empty run at the end.
ScatterRun RunFrom(const ibv_sge* begin, const ibv_sge* end, std::uint64_t offset,
                   const RunLimits& limits) {
  ScatterRun run{.elements = begin, .count = 0, .offset = offset, .bytes = 0};
  for (const ibv_sge* element = begin; element != end; ++element) {
    const bool fits =
        run.count < limits.max_elements && run.bytes + element->length <= limits.max_bytes;
    if (run.count > 0 && !fits) break;
    ++run.count;
    run.bytes += element->length;
  }
  return run;
}

bool IsSend(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_SEND || opcode == IBV_WR_SEND_WITH_IMM;
}

bool IsOneSided(ibv_wr_opcode opcode) {
  return opcode == IBV_WR_RDMA_WRITE || opcode == IBV_WR_RDMA_WRITE_WITH_IMM ||
         opcode == IBV_WR_RDMA_READ;
}

}  // namespace

ScatterRuns::Iterator ScatterRuns::begin() const {
  return {RunFrom(begin_, end_, offset_, limits_), end_, limits_};
}

ScatterRuns::Iterator ScatterRuns::end() const {
  return {RunFrom(end_, end_, offset_, limits_), end_, limits_};
}

ScatterRuns::Iterator& ScatterRuns::Iterator::operator++() {
  run_ = RunFrom(run_.elements + run_.count, end_, run_.offset + run_.bytes, limits_);
  return *this;
}

ScatterRuns ScatterList::Runs(const RunLimits& limits) const {
  const std::span<const ibv_sge> all = elements();
  return {all.data(), all.data() + all.size(), byte_offset(), limits};
}

absl::StatusOr<std::size_t> FillWorkRequests(const ScatterList& list, const RunLimits& limits,
                                             const ibv_send_wr& model,
                                             std::span<ibv_send_wr> requests) {
  if (!IsSend(model.opcode) && !IsOneSided(model.opcode)) {
    return absl::InvalidArgumentError(absl::StrCat("opcode ", static_cast<int>(model.opcode),
                                                   " is not a send, an RDMA write or a read"));
  }
  const ScatterRuns runs = list.Runs(limits);
  const auto count = static_cast<std::size_t>(std::distance(runs.begin(), runs.end()));
  if (count == 0) return absl::InvalidArgumentError("the list is empty; add elements first");
  if (IsSend(model.opcode) && count > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the list needs ", count,
                     " work requests, and a send is one message; copy, or send several messages"));
  }
  if (count > requests.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the list needs ", count, " work requests, and ",
                                                   requests.size(), " were given; give so many"));
  }
  std::size_t at = 0;
  for (const ScatterRun& run : runs) {
    ibv_send_wr& request = requests[at++];
    const bool last = at == count;
    request = model;
    request.next = last ? model.next : &requests[at];
    request.sg_list = const_cast<ibv_sge*>(run.elements);  // Verbs only read it.
    request.num_sge = static_cast<int>(run.count);
    if (IsOneSided(model.opcode)) request.wr.rdma.remote_addr += run.offset;
    if (last) break;
    if (model.opcode == IBV_WR_RDMA_WRITE_WITH_IMM) request.opcode = IBV_WR_RDMA_WRITE;
    request.send_flags &= ~static_cast<unsigned int>(IBV_SEND_SIGNALED | IBV_SEND_SOLICITED);
  }
  return count;
}

}  // namespace linchpin
