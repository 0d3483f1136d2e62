// Pieces: a transfer cut into work requests that the device takes, because one has room for so many
// extents and so many bytes only.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "apps/transport/transport.h"

namespace linchpin {

// More extents than this in one work request bring nothing, and make each slot of a queue larger.
inline constexpr std::size_t kMaxPieceExtents = 16;

struct RequestLimits {
  std::size_t extents = 1;  // At most kMaxPieceExtents, at least 1.
  std::size_t bytes = 1;    // Below 4 GiB, at least 1.
};

// The local and remote part of one work request.
struct Piece {
  std::array<ibv_sge, kMaxPieceExtents> extents{};
  int count = 0;
  std::uint64_t remote_address = 0;
};

class Pieces final {
 public:
  // Requires: `transfer`'s extents outlive this.
  Pieces(const Transfer& transfer, RequestLimits limits)
      : local_(transfer.local), remote_address_(transfer.remote.address), limits_(limits) {}

  // Whether there is another piece. A transfer of no bytes has one, without extents.
  bool more() const { return first_ || next_ < local_.size(); }

  // Requires: more().
  void Next(Piece& piece);

 private:
  void SkipEmpty();

  std::span<const LocalExtent> local_;
  std::uint64_t remote_address_;  // Of the next byte, as next_ and offset_ are of the local one.
  const RequestLimits limits_;
  std::size_t next_ = 0;
  std::size_t offset_ = 0;  // In local_[next_].
  bool first_ = true;
};

}  // namespace linchpin
