#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "linchpin/access.h"
#include "linchpin/phyr.h"
#include "linchpin/pin_file.h"
#include "linchpin/range.h"
#include "linchpin/registrar.h"

namespace linchpin {

// How pages are held for a device, and for how long: the four cases of the kernel's own text on
// pinned pages, as docs/pins.md explains them.
enum class PinKind : std::uint8_t {
  kTransient,  // For one operation. Verbs pin long-term whatever it is for, so the rules are those.
  kLongterm,   // Until it is given back: the pages can neither move nor go.
  kOnDemand,   // No pages are held: the device faults them in, and hears when they go.
  kFrameOnly,  // Nothing is registered or held: only where the pages are is looked at.
};

// "long-term"; "unknown" for a value that is none.
const char* ToString(PinKind kind);

struct PinRequest {
  Range range;
  PinKind kind = PinKind::kLongterm;
  // What the device may do. kOnDemand of Access follows from `kind`, and need not be said.
  Access rights = Access::kLocalRead;
  std::shared_ptr<PinFile> file = nullptr;  // Whose life bounds the pin's. Null: nobody's.
};

namespace internal {
class Pin;
}  // namespace internal

// A reference to pinned memory: its addresses, its keys, and on demand its frames. Made by PinVaddr
// alone. Move-only; Ref() is the one way to another reference, and the pin ends with the last one,
// on that thread, or with its PinFile. A default-constructed or moved-from VaddrPin refers to
// nothing; only assignment, destruction and operator bool may be applied to it.
//
// Unlike a lease of a RegistrationCache, nobody watches the memory: whoever unmaps it first ends
// the pin.
//
// Thread-safety: const calls may be made at once from any threads.
class VaddrPin final {
 public:
  VaddrPin() = default;
  VaddrPin(VaddrPin&& other) noexcept;
  VaddrPin& operator=(VaddrPin&& other) noexcept;
  VaddrPin(const VaddrPin&) = delete;
  VaddrPin& operator=(const VaddrPin&) = delete;
  ~VaddrPin();

  // Another reference to the same pin.
  VaddrPin Ref() const;

  Range range() const;
  PinKind kind() const;
  Access rights() const;
  std::size_t devices() const;  // Of the registrar: each has its keys. None if it is kFrameOnly.
  // The keys of the registrar's `device`. Requires: `device` < devices().
  std::uint32_t lkey(std::size_t device = 0) const;
  std::uint32_t rkey(std::size_t device = 0) const;

  // Whether the pin's file took it back: the keys are dead, or will be in a moment.
  bool revoked() const;

  // The frame number of each page of BasePageSize that the range touches, in order; 0 for a page
  // that is not there (on demand, or never touched). Looked at once, on the first call, and counted
  // in the process's FrameMap from then to the pin's end.
  // Returns: PermissionDenied when this process may not see frame numbers (CAP_SYS_ADMIN), with
  // what to do; Unavailable when /proc/self/pagemap cannot be read.
  absl::StatusOr<std::vector<std::uint64_t>> Frames() const;

  // The parts of the range whose frames another pin of this process, sampled by its own Frames(),
  // holds as well: two mappings of one file, say. As Frames() on error.
  absl::StatusOr<std::vector<Range>> SharedFrames() const;

  // The parts of the range at whose addresses there are other frames now than those sampled: the
  // mapping was replaced, or this is a forked child's copy. As Frames() on error.
  absl::StatusOr<std::vector<Range>> MovedFrames() const;

  // Where the range is now, with how it is held (kPinned and kLongterm, or kOnDemand) and which
  // bytes are dirty. Without privilege the addresses are unknown: see ReadPhyrs.
  // Returns: FailedPrecondition when the pin was taken back, and in a forked child, whose pages are
  // others; otherwise as ReadPhyrs.
  absl::StatusOr<PhyrList> Phyrs() const;

  // Notes that the device has written to `written`, as far as it lies in range(). Ranges are merged
  // when there are many. PinFile::Sync brings them to the file.
  void MarkDirty(Range written);
  std::vector<Range> dirty() const;  // In ascending order, disjoint.

  explicit operator bool() const { return pin_ != nullptr; }

 private:
  friend class internal::Pin;
  explicit VaddrPin(internal::Pin* pin) : pin_(pin) {}

  internal::Pin* pin_ = nullptr;
};

// Pins memory without a cache: registers exactly `request.range`.
// Returns: the first reference; otherwise, with nothing pinned, and a message that says which part
// of the range is the reason and what to do (see Explain):
//   InvalidArgument     null registrar (but for kFrameOnly), bad range, rights that contradict each
//                       other or the kind
//   FailedPrecondition  the memory is not there, or cannot be pinned so; the file is revoked
//   otherwise           what the registrar said
absl::StatusOr<VaddrPin> PinVaddr(std::shared_ptr<Registrar> registrar, const PinRequest& request);

}  // namespace linchpin
