// The timed loop: a stretch of transfers with as many outstanding as the transport takes. One
// template for all contenders, so that they differ in nothing but where a key comes from.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/bench/keys.h"
#include "apps/transport/scatter.h"
#include "apps/transport/transport.h"
#include "linchpin/scatter_list.h"

namespace linchpin {

// `count` transfers over the buffers in turn, the first of them over buffer `first`.
struct Stretch {
  std::size_t first = 0;
  std::uint64_t count = 0;
};

template <typename Keys>
class Pump final {
 public:
  // Requires: all outlive the pump; `depth` > 0.
  Pump(Transport& transport, Keys& keys, const BenchMemory& memory, Operation operation,
       std::size_t depth)
      : transport_(transport),
        keys_(keys),
        memory_(memory),
        operation_(operation),
        slots_(std::min(depth, transport.depth())) {
    const bool reads = operation == Operation::kRead;
    for (Slot& slot : slots_) {
      slot.list =
          ScatterList(reads ? TransferDirection::kDeviceWrites : TransferDirection::kDeviceReads);
    }
  }

  // Returns: the seconds it took, all registrations of the operations included; otherwise why a
  // transfer did not succeed. Nothing is outstanding and no key is held afterwards.
  absl::StatusOr<double> Run(const Stretch& stretch) {
    posted_ = done_ = 0;
    posting_ = polling_ = 0;
    buffer_ = stretch.first;
    const auto start = std::chrono::steady_clock::now();
    while (done_ < stretch.count) {
      const bool room = posted_ < stretch.count && posted_ - done_ < slots_.size();
      const absl::Status status = room ? PostOne() : PollOne();
      if (!status.ok()) {
        LetGo();
        return status;
      }
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  // One outstanding transfer. Slots are used in turn: completions come in the order of posting.
  struct Slot {
    ScatterList list{TransferDirection::kDeviceReads};  // Of either direction, says the pump.
    std::vector<LocalExtent> extents;                   // The same elements, for the transport.
    typename Keys::Hold hold;
    std::size_t buffer = 0;
    bool held = false;
  };

  absl::Status PostOne() {
    Slot& slot = slots_[posting_];
    const Range range = memory_.local->range(buffer_);
    slot.list.Reset();
    absl::Status status = keys_.Take(range, buffer_, slot.hold, slot.list);
    if (!status.ok()) return status;
    slot.held = true;
    slot.buffer = buffer_;
    CopyExtents(slot.list, slot.extents);
    Transfer transfer;
    transfer.operation = operation_;
    transfer.local = slot.extents;
    transfer.remote = {reinterpret_cast<std::uint64_t>(memory_.remote->at(buffer_)),
                       keys_.rkey(buffer_)};
    status = transport_.Post(transfer);
    if (!status.ok()) return status;
    ++posted_;
    posting_ = Next(posting_, slots_.size());
    buffer_ = Next(buffer_, memory_.local->count());
    return status;
  }

  absl::Status PollOne() {
    const absl::StatusOr<Completion> completion = transport_.Poll();
    if (!completion.ok()) return completion.status();
    Slot& slot = slots_[polling_];
    if (*completion != Completion::kSuccess) {
      return absl::InternalError(absl::StrFormat("the transfer of buffer %d on %s ended with: %s",
                                                 slot.buffer, transport_.device(),
                                                 std::string(ToString(*completion))));
    }
    ++done_;
    polling_ = Next(polling_, slots_.size());
    return Give(slot);
  }

  absl::Status Give(Slot& slot) {
    slot.held = false;
    absl::Status released = slot.list.Release();
    released.Update(keys_.Give(slot.hold));
    return released;
  }

  // After an error: waits for what is outstanding, and gives back every key.
  void LetGo() {
    while (transport_.outstanding() > 0) {
      const absl::StatusOr<Completion> completion = transport_.Poll();
      if (!completion.ok() || *completion != Completion::kSuccess) break;  // All are flushed.
    }
    for (Slot& slot : slots_) {
      if (slot.held) Give(slot).IgnoreError();
    }
  }

  static std::size_t Next(std::size_t index, std::size_t count) {
    return index + 1 == count ? 0 : index + 1;
  }

  Transport& transport_;
  Keys& keys_;
  const BenchMemory& memory_;
  const Operation operation_;
  std::vector<Slot> slots_;
  std::uint64_t posted_ = 0;  // Of this stretch, and those of them that are done.
  std::uint64_t done_ = 0;
  std::size_t posting_ = 0;  // The slot of the next post, and of the next completion.
  std::size_t polling_ = 0;
  std::size_t buffer_ = 0;  // Of the next post.
};

}  // namespace linchpin
