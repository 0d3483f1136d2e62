// What a scatter list holds for its elements, and how an element names it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "lib/base/check.h"
#include "linchpin/cache.h"
#include "linchpin/pin.h"
#include "linchpin/range.h"
#include "linchpin/scatter_list.h"

namespace linchpin::internal {

// One registration's. Of its fields one has a value: which, the elements that name it know.
struct ScatterOwner {
  Lease lease;
  VaddrPin pin;
  std::shared_ptr<const void> adopted;
};

// The owner of an element with the element's provenance in the low bits of its address: a word
// beside each ibv_sge, whose 16 bytes are the device's to read.
//
// Invariant: the address is null if and only if the provenance is kBorrowed.
class OwnerWord final {
 public:
  OwnerWord() = default;  // Borrowed.
  OwnerWord(ScatterOwner& owner, Provenance provenance)
      : bits_(reinterpret_cast<std::uintptr_t>(&owner) | static_cast<std::uintptr_t>(provenance)) {
    LINCHPIN_CHECK(provenance != Provenance::kBorrowed);
  }

  Provenance provenance() const { return static_cast<Provenance>(bits_ & kProvenanceBits); }
  ScatterOwner* owner() const {
    return reinterpret_cast<ScatterOwner*>(bits_ & ~kProvenanceBits);  // NOLINT: made from one.
  }
  bool operator==(const OwnerWord&) const = default;

  // What the user knows it by: the lease, the pin, what the adopted pointer points to, or null.
  const void* get() const;

  // Notes that the device has written to `written`, where there is somebody to be told.
  void MarkDirty(const Range& written) const;

  // Lets go of it. May be called again, by each of the elements that share it.
  void Drop() const;

 private:
  static constexpr std::uintptr_t kProvenanceBits = 3;
  static_assert(alignof(ScatterOwner) > kProvenanceBits);

  std::uintptr_t bits_ = 0;
};

// The owners of one list, at addresses that stay the same. They are let go of all at once, and what
// they lay in is used again.
class OwnerArena final {
 public:
  ScatterOwner& New() {
    if (used_ == kBlock * blocks_.size()) blocks_.push_back(std::make_unique<Block>());
    const std::size_t at = used_++;
    return (*blocks_[at / kBlock])[at % kBlock];
  }

  // Requires: all have been dropped.
  void Clear() { used_ = 0; }

 private:
  static constexpr std::size_t kBlock = 8;
  using Block = std::array<ScatterOwner, kBlock>;

  std::vector<std::unique_ptr<Block>> blocks_;
  std::size_t used_ = 0;
};

}  // namespace linchpin::internal
