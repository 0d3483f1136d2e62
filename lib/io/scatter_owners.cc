// The one table of what each provenance means: a case here for each of the four.
#include "lib/io/scatter_owners.h"

namespace linchpin {

const char* ToString(Provenance provenance) {
  switch (provenance) {
    case Provenance::kBorrowed:
      return "borrowed";
    case Provenance::kLease:
      return "lease";
    case Provenance::kAdopted:
      return "adopted";
    case Provenance::kPinned:
      return "pinned";
  }
  return "unknown";
}

namespace internal {

const void* OwnerWord::get() const {
  switch (provenance()) {
    case Provenance::kBorrowed:
      return nullptr;
    case Provenance::kLease:
      return &owner()->lease;
    case Provenance::kAdopted:
      return owner()->adopted.get();
    case Provenance::kPinned:
      return &owner()->pin;
  }
  return nullptr;
}

void OwnerWord::MarkDirty(const Range& written) const {
  switch (provenance()) {
    case Provenance::kBorrowed:  // Its owner knows where it let the device write.
    case Provenance::kAdopted:   // The kernel marks what it unpins, and there is nobody else.
      return;
    case Provenance::kLease:
      return owner()->lease.MarkDirty(written);
    case Provenance::kPinned:
      return owner()->pin.MarkDirty(written);
  }
}

void OwnerWord::Drop() const {
  switch (provenance()) {
    case Provenance::kBorrowed:
      return;
    case Provenance::kLease:
      owner()->lease = Lease();
      return;
    case Provenance::kAdopted:
      owner()->adopted.reset();
      return;
    case Provenance::kPinned:
      owner()->pin = VaddrPin();
      return;
  }
}

}  // namespace internal
}  // namespace linchpin
