// RegionExtras: what few regions have, and so is kept apart from them: keys of more devices than
// one, the frames that an audit compares, and a PinFile that they belong to.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "boost/intrusive/list_hook.hpp"

#include "lib/pin/dirty_ranges.h"
#include "lib/pin/frame_sample.h"
#include "lib/pin/pin_file_core.h"
#include "linchpin/registrar.h"

namespace linchpin::internal {

using RegionId = std::uint32_t;  // A region's number in the cache's slab; 0 for none.

// A claim on a PinFile, ended when it is destroyed. Not under a mutex: ending one takes locks.
class FileClaim final {
 public:
  FileClaim() = default;
  FileClaim(FileClaim&& other) noexcept
      : file_(std::move(other.file_)), client_(std::exchange(other.client_, nullptr)) {}
  FileClaim& operator=(FileClaim&& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(client_, other.client_);
    return *this;
  }
  FileClaim(const FileClaim&) = delete;
  FileClaim& operator=(const FileClaim&) = delete;
  ~FileClaim() {
    if (file_ != nullptr) file_->EndClaim(*client_);
  }

  // Returns: as PinFileCore::BeginClaim.
  absl::Status Begin(std::shared_ptr<PinFileCore> file, PinFileClient& client) {
    absl::Status begun = file->BeginClaim(client);
    if (begun.ok()) *this = FileClaim(std::move(file), client);
    return begun;
  }

  PinFileCore* file() const { return file_.get(); }

 private:
  FileClaim(std::shared_ptr<PinFileCore> file, PinFileClient& client)
      : file_(std::move(file)), client_(&client) {}

  std::shared_ptr<PinFileCore> file_;
  PinFileClient* client_ = nullptr;
};

// One link of what a region has besides: keys and frames, or a file that it belongs to, never both.
// Keys and frames come first, and stay as long as the region. Guarded by the mutex of the cache,
// but that keys and frames may be read by who holds a lease. Made and destroyed with no lock held,
// and out of `owned` by then.
struct RegionExtras {
  using Hook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

  bool IsFirst() const { return !other_keys.empty() || frames != nullptr; }

  std::vector<RegistrationKeys> other_keys;  // Of devices from 1 on.
  std::unique_ptr<FrameSample> frames;       // At the registration. Null: not audited.

  // Whose the region is:
  //   an exact region   its one lease's owner's
  //   a claim           the same, and the lease is in truth on `base`
  //   any other         the file whose guard it is kept by; or whose lease on it was the last
  FileClaim claim;
  RegionId region = 0;  // Whose extras these are.
  RegionId base = 0;
  std::unique_ptr<DirtyRanges> dirty;  // Written by the device, for Sync.
  Hook owned;                          // Among all that belong to a file.

  std::unique_ptr<RegionExtras> next;
};

using ExtrasChain = std::unique_ptr<RegionExtras>;

inline bool IsDirty(const RegionExtras& link) {
  return link.dirty != nullptr && !link.dirty->empty();
}

// Leaves what is dirty with the files. With no lock held.
void KeepDirty(const ExtrasChain& chain);

// Leaves what is dirty with a link of the same file in `chain`, if there is one. Neither allocates
// nor frees. Returns: whether the chain has a link of any file that is alive.
bool PassOnDirty(RegionExtras& link, const ExtrasChain& chain);

// Returns: the first link that names a file, or null.
inline RegionExtras* OwnerIn(const ExtrasChain& chain) {
  RegionExtras* link = chain.get();
  while (link != nullptr && link->claim.file() == nullptr) link = link->next.get();
  return link;
}

// Adds a link, behind keys and frames if there are any.
inline void Attach(ExtrasChain& chain, ExtrasChain link) {
  ExtrasChain& place = chain != nullptr && chain->IsFirst() ? chain->next : chain;
  link->next = std::move(place);
  place = std::move(link);
}

// Takes a link out of its chain. Requires: it is in there.
inline ExtrasChain Detach(ExtrasChain& chain, const RegionExtras& link) {
  ExtrasChain* place = &chain;
  while (place->get() != &link) place = &(*place)->next;
  ExtrasChain taken = std::move(*place);
  *place = std::move(taken->next);
  return taken;
}

}  // namespace linchpin::internal
