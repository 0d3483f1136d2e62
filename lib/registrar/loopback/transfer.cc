#include "lib/registrar/loopback/transfer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <limits>

#include "lib/base/base_page.h"

namespace linchpin::loopback {
namespace {

constexpr std::size_t kUnlimited = std::numeric_limits<std::size_t>::max();

// What one move may take: bytes, and pages of the pipe. A move of n bytes takes n / page of them,
// rounded up, wherever in a page it begins.
struct Budget {
  std::size_t bytes = kUnlimited;
  std::size_t pages = kUnlimited;

  bool empty() const { return bytes == 0 || pages == 0; }

  // The most bytes that a further move may have.
  std::size_t Most() const {
    return pages > bytes / BasePageSize() ? bytes : std::min(bytes, pages * BasePageSize());
  }
  void Spend(std::size_t length) {
    bytes -= length;
    if (pages != kUnlimited) pages -= (length + BasePageSize() - 1) / BasePageSize();
  }
};

// Extents for one call of Ring::Move: all in one ring.
struct Batch {
  std::array<PinnedExtent, Ring::kBatch> extents;
  std::size_t count = 0;
  std::size_t bytes = 0;

  Moved Move(Direction direction, int pipe) const {
    return extents[0].slot.ring->Move(direction, pipe, {extents.data(), count});
  }
};

// A place in a list of extents, between two bytes.
class Cursor {
 public:
  explicit Cursor(std::span<const PinnedExtent> extents) : extents_(extents) {}

  bool at_end() const { return extents_.empty(); }

  // Puts into `batch` what follows, as far as one ring and the budget go. Requires: neither the
  // list nor the budget is at its end.
  void Peek(Budget& budget, Batch& batch) const {
    std::size_t skip = offset_;
    batch.count = 0;
    batch.bytes = 0;
    for (const PinnedExtent& extent : extents_) {
      const bool other_ring = extent.slot.ring != extents_.front().slot.ring;
      if (other_ring || batch.count == Ring::kBatch || budget.empty()) return;
      const std::size_t length = std::min(extent.length - skip, budget.Most());
      batch.extents[batch.count++] = {extent.slot, extent.address + skip, length};
      batch.bytes += length;
      budget.Spend(length);
      if (skip + length < extent.length) return;
      skip = 0;
    }
  }

  void Advance(std::size_t bytes) {
    while (bytes > 0) {
      const std::size_t step = std::min(bytes, extents_.front().length - offset_);
      bytes -= step;
      offset_ += step;
      if (offset_ < extents_.front().length) return;
      extents_ = extents_.subspan(1);
      offset_ = 0;
    }
  }

 private:
  std::span<const PinnedExtent> extents_;  // None is empty.
  std::size_t offset_ = 0;                 // Into the first; less than its length.
};

// Moves from the cursor into the empty pipe until it is full. Returns: the bytes in the pipe now.
std::size_t Fill(Cursor& from, const Bounce& bounce) {
  Budget budget{.pages = bounce.room_pages()};
  Batch batch;
  std::size_t filled = 0;
  while (!from.at_end() && !budget.empty()) {
    from.Peek(budget, batch);
    const Moved moved = batch.Move(Direction::kToPipe, bounce.write_end());
    from.Advance(moved.bytes);
    filled += moved.bytes;
    if (moved.bytes < batch.bytes) break;  // What is there goes on; the rest is tried again.
  }
  return filled;
}

// Moves `bytes` from the pipe to the cursor.
bool Empty(std::size_t bytes, Cursor& to, const Bounce& bounce) {
  Batch batch;
  while (bytes > 0) {
    Budget budget{.bytes = bytes};
    to.Peek(budget, batch);
    const Moved moved = batch.Move(Direction::kFromPipe, bounce.read_end());
    if (moved.bytes == 0) return false;
    to.Advance(moved.bytes);
    bytes -= moved.bytes;
  }
  return true;
}

}  // namespace

bool Copy(std::span<const PinnedExtent> from, std::span<const PinnedExtent> to, Bounce& bounce) {
  Cursor source(from);
  Cursor destination(to);
  while (!source.at_end()) {
    const std::size_t bytes = Fill(source, bounce);
    if (bytes == 0 || !Empty(bytes, destination, bounce)) return false;
  }
  return true;
}

bool Load(std::span<const PinnedExtent> from, std::span<std::byte> to, Bounce& bounce) {
  Cursor source(from);
  while (!to.empty()) {
    std::size_t bytes = Fill(source, bounce);
    if (bytes == 0) return false;
    while (bytes > 0) {
      const ssize_t count = read(bounce.read_end(), to.data(), bytes);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return false;
      to = to.subspan(static_cast<std::size_t>(count));
      bytes -= static_cast<std::size_t>(count);
    }
  }
  return true;
}

bool Store(std::span<const std::byte> from, std::span<const PinnedExtent> to, Bounce& bounce) {
  Cursor destination(to);
  ssize_t count = 0;
  do {
    count = write(bounce.write_end(), from.data(), from.size());
  } while (count < 0 && errno == EINTR);
  return count == static_cast<ssize_t>(from.size()) && Empty(from.size(), destination, bounce);
}

}  // namespace linchpin::loopback
