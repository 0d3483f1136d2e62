// A list taken apart by provenance, for code that can treat but one at a time.
#include <cstddef>
#include <utility>
#include <vector>

#include "lib/io/scatter_list_impl.h"
#include "linchpin/scatter_list.h"

namespace linchpin {

using internal::OwnerWord;
using internal::ScatterOwner;

void ScatterList::Impl::TakeOver(Impl& other, std::size_t i) {
  const OwnerWord theirs = other.owners[i];
  OwnerWord ours;
  if (!owners.empty() && theirs == other.owners[i - 1]) {
    ours = owners.back();
  } else if (theirs.provenance() != Provenance::kBorrowed) {
    ScatterOwner& owner = arena.New();
    owner.lease = std::move(theirs.owner()->lease);
    owner.pin = std::move(theirs.owner()->pin);
    owner.adopted = theirs.owner()->adopted;  // Others, elsewhere, may name it too.
    ours = {owner, theirs.provenance()};
  }
  Append(RangeOf(other.elements[i]), other.elements[i].lkey, ours);
}

absl::StatusOr<std::vector<ScatterList>> ScatterList::SplitByProvenance() {
  if (absl::Status usable = Usable(); !usable.ok()) return usable;
  std::vector<ScatterList> lists;
  std::uint64_t offset = impl_->byte_offset;
  for (std::size_t i = 0; i < impl_->elements.size(); ++i) {
    const bool first = i == 0 || impl_->owners[i].provenance() != impl_->owners[i - 1].provenance();
    if (first) {
      lists.emplace_back(impl_->direction, impl_->device);
      lists.back().impl_->byte_offset = offset;
      lists.back().impl_->misuse = impl_->misuse;
    }
    lists.back().impl_->TakeOver(*impl_, i);
    offset += impl_->elements[i].length;
  }
  impl_->Drop();
  return lists;
}

}  // namespace linchpin
