// The state of a scatter list, apart from what its user may know.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"

#include "lib/io/acquire_pieces.h"
#include "lib/io/misuse.h"
#include "lib/io/scatter_owners.h"
#include "linchpin/range.h"
#include "linchpin/scatter_list.h"

namespace linchpin {

// Invariants: elements and owners are of the same size, and of the same index of the same element;
// total_bytes is the sum of the lengths; elements with the same owner have the same provenance, and
// unless it is kAdopted are neighbours; once released there are no elements.
class ScatterList::Impl final {
 public:
  static_assert(sizeof(ibv_sge) == 16);

  Impl(TransferDirection to_or_from, std::size_t of_device)
      : direction(to_or_from), device(of_device) {}
  ~Impl() { Release(kAllBytes); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  static Range RangeOf(const ibv_sge& element) {
    return {element.addr, element.addr + element.length};
  }

  // Returns: InvalidArgument when the elements for `range`, cut into `pieces`, do not fit in.
  absl::Status CheckRoom(const Range& range, std::size_t pieces) const;

  // Adds elements for `range`. Requires: there is room.
  void Append(const Range& range, std::uint32_t lkey, internal::OwnerWord owner);

  // Returns: InvalidArgument when the lease has no key for the list's device.
  absl::Status CheckDevice(const Lease& lease) const;

  // Returns: InvalidArgument when the device is to write to `range` and `access` does not let it.
  absl::Status CheckRights(const Range& range, Access access) const;

  // Requires: `lease` has one, and there is room.
  void AppendLease(Lease lease, const Range& part);

  // All or nothing, for what is not to be had in one lease.
  absl::Status AppendPieces(RegistrationCache& cache, const internal::PiecesRequest& request);

  // Adds element `i` of `other`, and what that holds for it; its neighbour before it was added
  // last.
  void TakeOver(Impl& other, std::size_t i);

  // Marks what was written, and drops everything.
  void Release(std::uint64_t bytes_written);
  void Drop();

  const TransferDirection direction;
  const std::size_t device;
  std::uint64_t byte_offset = 0;
  std::uint64_t total_bytes = 0;
  bool released = false;
  internal::MisuseIs misuse = internal::kMisuse;
  std::vector<ibv_sge> elements;
  std::vector<internal::OwnerWord> owners;
  internal::OwnerArena arena;

 private:
  void MarkDirty(std::uint64_t bytes_written) const;
};

}  // namespace linchpin
