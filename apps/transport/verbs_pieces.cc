#include "apps/transport/verbs_pieces.h"

#include <algorithm>

namespace linchpin {

void Pieces::Next(Piece& piece) {
  first_ = false;
  piece.count = 0;
  piece.remote_address = remote_address_;
  std::size_t room = limits_.bytes;
  SkipEmpty();
  while (room > 0 && next_ < local_.size() &&
         static_cast<std::size_t>(piece.count) < limits_.extents) {
    const LocalExtent& extent = local_[next_];
    const std::size_t length = std::min(room, extent.length - offset_);
    piece.extents[static_cast<std::size_t>(piece.count++)] = {
        .addr = reinterpret_cast<std::uintptr_t>(extent.address) + offset_,
        .length = static_cast<std::uint32_t>(length),
        .lkey = extent.lkey};
    room -= length;
    offset_ += length;
    remote_address_ += length;
    if (offset_ == extent.length) {
      ++next_;
      offset_ = 0;
    }
    SkipEmpty();
  }
}

void Pieces::SkipEmpty() {
  while (next_ < local_.size() && local_[next_].length == 0) ++next_;
}

}  // namespace linchpin
