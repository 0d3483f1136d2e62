#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/phyr.h"

namespace linchpin {

// A space of IO addresses, of which ranges are given out: the smallest free range that is large
// enough, at its lowest address.
//
// Thread-safety: all calls may be made at once from any threads.
class IovaSpace final {
 public:
  struct Options {
    std::uint64_t first = 0;  // The lowest address given out: a multiple of `granule`.
    std::uint64_t last =
        std::numeric_limits<std::uint32_t>::max();  // Inclusive; granule ends here.
    std::uint64_t granule = 4096;  // What is given out are multiples of it: a power of two to 2^51.
  };

  // Returns: the space; InvalidArgument for options that contradict each other.
  static absl::StatusOr<std::shared_ptr<IovaSpace>> Create(const Options& options);
  IovaSpace(const IovaSpace&) = delete;
  IovaSpace& operator=(const IovaSpace&) = delete;
  ~IovaSpace();

  // Takes `bytes`, rounded up to the granule, none of them behind `last_max`.
  // Returns: the first address; InvalidArgument for 0 bytes; ResourceExhausted when there is no
  // free range so large, with what the largest is.
  absl::StatusOr<std::uint64_t> Allocate(
      std::uint64_t bytes, std::uint64_t last_max = std::numeric_limits<std::uint64_t>::max());

  // Gives back what Allocate returned. Returns: NotFound, with nothing changed, for anything else.
  absl::Status Free(std::uint64_t address);

  std::uint64_t granule() const;
  std::uint64_t bytes_free() const;  // Never more than 2^64 - 1.
  std::uint64_t bytes_allocated() const;
  void CheckInvariantsForTest() const;  // Aborts if one does not hold.

 private:
  struct Impl;
  explicit IovaSpace(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What a device can do, and through what it sees memory.
struct DmaLimits {
  std::uint64_t mask = std::numeric_limits<std::uint64_t>::max();  // The highest address it has.
  std::uint64_t boundary = 0;     // No segment crosses a multiple of it: a power of two. 0: may.
  std::uint64_t max_segment = 0;  // Bytes of one segment at most. 0: any.
  std::size_t max_segments = 0;   // Segments of one mapping at most. 0: any.
  // Where the segments of neighbours in the list meet at a multiple of it, they are merged into
  // one. 1: wherever they meet; 0: never. What an IOMMU's page is, its merge boundary is.
  std::uint64_t merge_granule = 1;
  bool device_writes = true;  // To the memory, so the page of zeros is refused.
  // Null: the device sees physical addresses. Otherwise through an IOMMU, whose pages are the
  // space's granule: the list lies in one range of it. It should have no addresses that are a peer
  // device's memory: which of the two such an address is, a device cannot say.
  std::shared_ptr<IovaSpace> iova = nullptr;
};

// What an IOMMU is told: at `iova`, it shows `memory`. Both are multiples of the granule.
struct DmaTranslation {
  std::uint64_t iova = 0;
  Phyr memory;

  bool operator==(const DmaTranslation&) const = default;
};

// A list as a device is given it. Unmaps at its end. Move-only.
class DmaMapping final {
 public:
  DmaMapping() = default;  // Of nothing.
  DmaMapping(DmaMapping&& other) noexcept;
  DmaMapping& operator=(DmaMapping&& other) noexcept;
  DmaMapping(const DmaMapping&) = delete;
  DmaMapping& operator=(const DmaMapping&) = delete;
  ~DmaMapping();

  // In the list's order. Addresses are the device's; flags those that all of the segment has.
  std::span<const Phyr> segments() const { return segments_; }
  // In ascending order; none when the device sees physical addresses, and none for bus addresses.
  std::span<const DmaTranslation> translations() const { return translations_; }

 private:
  friend absl::StatusOr<DmaMapping> DmaMap(const PhyrList& list, const DmaLimits& limits);
  friend void DmaUnmap(DmaMapping& mapping);

  std::vector<Phyr> segments_;
  std::vector<DmaTranslation> translations_;
  std::shared_ptr<IovaSpace> space_;  // Null: there is nothing to give back.
  std::uint64_t iova_ = 0;
};

// Makes the segments by which a device with these limits reaches the list's bytes, in their order.
// Entries with kBusAddress are passed on as they are: cut by the limits, and never translated,
// merged, or unmapped. All or nothing. The memory must stay pinned until the device has done: a
// list is only true so long.
//
// The kernel's dma_map_sg, or what was proposed as dma_map_phyr, in user space: for devices that
// are driven from there.
//
// Returns: the mapping; otherwise, with nothing allocated:
//   InvalidArgument     limits that contradict each other, a boundary or granule that is no power
//                       of two; an empty list
//   FailedPrecondition  an entry that no device can be given: its address is not known, it is not
//                       in memory, nothing holds its pages (kOnDemand), it is the page of zeros
//   OutOfRange          an entry lies beyond `mask`, or needs more than `max_segments`
//   ResourceExhausted   no such range of IO addresses is free
// The last but one of these name the entry.
absl::StatusOr<DmaMapping> DmaMap(const PhyrList& list, const DmaLimits& limits = {});

// Gives back what DmaMap took, exactly: the range of IO addresses. Bus addresses are nobody's here.
// The device must not use the segments any more. The mapping is one of nothing afterwards; of such
// nothing is given back.
void DmaUnmap(DmaMapping& mapping);

}  // namespace linchpin
