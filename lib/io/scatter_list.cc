#include "linchpin/scatter_list.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/io/acquire_pieces.h"
#include "lib/io/scatter_list_impl.h"

namespace linchpin {
namespace {

using internal::OwnerWord;
using internal::ScatterOwner;

constexpr char kMovedFrom[] = "the scatter list was moved from; make a new one";
constexpr char kReleased[] =
    "the scatter list was released or split before; call Reset() to build it anew";
constexpr std::size_t kDevicePage = 4096;

// Where the first element of `range` ends.
std::uintptr_t ElementEnd(const Range& range) {
  if (range.size() <= ScatterList::kMaxElementBytes) return range.end;
  const std::uintptr_t reach = range.start + ScatterList::kMaxElementBytes;
  return reach - reach % kDevicePage;
}

absl::Status NotBorrowed(std::size_t index, Provenance provenance) {
  return absl::FailedPreconditionError(absl::StrCat("element ", index, " is no borrowed one but ",
                                                    ToString(provenance),
                                                    "; adopt each element once"));
}

absl::Status NullRegistration() {
  return absl::InvalidArgumentError(
      "the registration to adopt is null; pass what keeps the element registered");
}

}  // namespace

absl::Status ScatterList::Impl::CheckRoom(const Range& range, std::size_t pieces) const {
  // One more than are needed, where a piece begins at a page.
  const std::uint64_t needed = range.size() / (kMaxElementBytes - kDevicePage) + pieces;
  if (needed <= kMaxElements && elements.size() <= kMaxElements - needed) [[likely]]
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(range.ToString(), " needs ", needed, " elements beside the ", elements.size(),
                   " there are, and a list has ", kMaxElements, " at most; use several lists"));
}

void ScatterList::Impl::Append(const Range& range, std::uint32_t lkey, OwnerWord owner) {
  for (Range rest = range; !rest.empty();) {
    const std::uintptr_t end = ElementEnd(rest);
    elements.push_back({rest.start, static_cast<std::uint32_t>(end - rest.start), lkey});
    owners.push_back(owner);
    rest.start = end;
  }
  total_bytes += range.size();
}

absl::Status ScatterList::Impl::CheckDevice(const Lease& lease) const {
  if (device == 0 || device < lease.devices()) [[likely]]
    return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the list is made for device ", device, ", and the registrar of ",
                   lease.range().ToString(), " has ", lease.devices(), "; count them from 0"));
}

absl::Status ScatterList::Impl::CheckRights(const Range& range, Access access) const {
  if (direction == TransferDirection::kDeviceReads || Any(access & Access::kLocalWrite)) [[likely]]
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the device is to write to ", range.ToString(),
                                                 "; register it for Access::kLocalWrite"));
}

void ScatterList::Impl::AppendLease(Lease lease, const Range& part) {
  const std::uint32_t lkey = lease.lkey(device);
  ScatterOwner& owner = arena.New();
  owner.lease = std::move(lease);
  Append(part, lkey, {owner, Provenance::kLease});
}

absl::Status ScatterList::Impl::AppendPieces(RegistrationCache& cache,
                                             const internal::PiecesRequest& request) {
  absl::StatusOr<std::vector<Lease>> leases = internal::AcquirePieces(cache, request);
  if (!leases.ok()) return leases.status();
  if (absl::Status room = CheckRoom(request.range, leases->size()); !room.ok()) return room;
  if (absl::Status known = CheckDevice(leases->front()); !known.ok()) return known;
  for (Lease& lease : *leases) {
    const Range whole = lease.range();
    AppendLease(std::move(lease), whole);
  }
  return absl::OkStatus();
}

void ScatterList::Impl::MarkDirty(std::uint64_t bytes_written) const {
  std::uint64_t left = bytes_written;
  for (std::size_t i = 0; i < elements.size() && left > 0; ++i) {
    Range written = RangeOf(elements[i]);
    written.end = written.start + std::min<std::uint64_t>(written.size(), left);
    owners[i].MarkDirty(written);
    left -= written.size();
  }
}

void ScatterList::Impl::Release(std::uint64_t bytes_written) {
  if (direction == TransferDirection::kDeviceWrites) MarkDirty(bytes_written);
  Drop();
}

void ScatterList::Impl::Drop() {
  released = true;
  for (const OwnerWord& owner : owners) owner.Drop();
  elements.clear();
  owners.clear();
  arena.Clear();
  total_bytes = 0;
}

ScatterList::ScatterList(TransferDirection direction, std::size_t device)
    : impl_(std::make_unique<Impl>(direction, device)) {}
ScatterList::ScatterList(ScatterList&& other) noexcept = default;
ScatterList& ScatterList::operator=(ScatterList&& other) noexcept = default;
ScatterList::~ScatterList() = default;

absl::Status ScatterList::Usable() const {
  if (impl_ != nullptr && !impl_->released) [[likely]]
    return absl::OkStatus();
  if (impl_ == nullptr) return internal::Misuse(internal::kMisuse, kMovedFrom);
  return internal::Misuse(impl_->misuse, kReleased);
}

absl::Status ScatterList::CheckBorrowed(std::size_t index) const {
  if (absl::Status usable = Usable(); !usable.ok()) return usable;
  if (index >= impl_->elements.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no element ", index, "; the list has ", impl_->elements.size()));
  }
  const Provenance provenance = impl_->owners[index].provenance();
  if (provenance != Provenance::kBorrowed) return NotBorrowed(index, provenance);
  return absl::OkStatus();
}

absl::Status ScatterList::AddLease(Lease lease) {
  const Range whole = lease.range();
  return AddLease(std::move(lease), whole);
}

absl::Status ScatterList::AddLease(Lease lease, Range part) {
  if (absl::Status usable = Usable(); !usable.ok()) return usable;
  if (!lease) {
    return absl::InvalidArgumentError("the lease is empty or was moved from; pass one that holds");
  }
  if (part.empty() || !lease.range().Contains(part)) {
    return absl::InvalidArgumentError(absl::StrCat("the part ", part.ToString(),
                                                   " is empty or not within the lease's ",
                                                   lease.range().ToString()));
  }
  if (lease.revoked()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the lease on ", lease.range().ToString(), " was revoked: its key is dead; acquire again"));
  }
  if (absl::Status room = impl_->CheckRoom(part, 1); !room.ok()) return room;
  if (absl::Status known = impl_->CheckDevice(lease); !known.ok()) return known;
  if (absl::Status allowed = impl_->CheckRights(part, lease.access()); !allowed.ok()) {
    return allowed;
  }
  impl_->AppendLease(std::move(lease), part);
  return absl::OkStatus();
}

absl::Status ScatterList::AddBorrowed(const void* address, std::size_t length, std::uint32_t lkey) {
  if (absl::Status usable = Usable(); !usable.ok()) return usable;
  const absl::StatusOr<Range> range = Range::Of(address, length);
  if (!range.ok()) return range.status();
  if (absl::Status room = impl_->CheckRoom(*range, 1); !room.ok()) return room;
  impl_->Append(*range, lkey, {});
  return absl::OkStatus();
}

absl::Status ScatterList::AddRange(RegistrationCache& cache, const void* address,
                                   std::size_t length, Access access,
                                   const std::shared_ptr<PinFile>& owner) {
  if (absl::Status usable = Usable(); !usable.ok()) return usable;
  const absl::StatusOr<Range> range = Range::Of(address, length);
  if (!range.ok()) return range.status();
  if (absl::Status allowed = impl_->CheckRights(*range, access); !allowed.ok()) return allowed;
  if (absl::Status room = impl_->CheckRoom(*range, 1); !room.ok()) return room;
  absl::Status refusal;
  if (length <= cache.max_region_bytes()) {
    absl::StatusOr<Lease> lease = owner == nullptr ? cache.Acquire(address, length, access)
                                                   : cache.Acquire(address, length, access, owner);
    if (lease.ok()) [[likely]] {
      if (absl::Status known = impl_->CheckDevice(*lease); !known.ok()) return known;
      impl_->AppendLease(*std::move(lease), *range);
      return absl::OkStatus();
    }
    refusal = lease.status();
  }
  return impl_->AppendPieces(cache, {*range, access, owner, std::move(refusal)});
}

absl::Status ScatterList::Adopt(std::size_t index, std::shared_ptr<const void> registration) {
  if (absl::Status borrowed = CheckBorrowed(index); !borrowed.ok()) return borrowed;
  if (registration == nullptr) return NullRegistration();
  ScatterOwner& owner = impl_->arena.New();
  owner.adopted = std::move(registration);
  impl_->owners[index] = {owner, Provenance::kAdopted};
  return absl::OkStatus();
}

absl::Status ScatterList::Adopt(std::size_t index, VaddrPin pin) {
  if (absl::Status borrowed = CheckBorrowed(index); !borrowed.ok()) return borrowed;
  const ibv_sge& element = impl_->elements[index];
  const Range range = Impl::RangeOf(element);
  if (!pin) return NullRegistration();
  if (!pin.range().Contains(range)) {
    return absl::InvalidArgumentError(absl::StrCat("element ", index, ", ", range.ToString(),
                                                   ", is not within the pin's ",
                                                   pin.range().ToString()));
  }
  if (impl_->device >= pin.devices() || pin.lkey(impl_->device) != element.lkey) {
    return absl::InvalidArgumentError(
        absl::StrCat("element ", index, " has another lkey than the pin; adopt its own pin"));
  }
  if (absl::Status allowed = impl_->CheckRights(range, pin.rights()); !allowed.ok()) {
    return allowed;
  }
  if (pin.revoked()) {
    return absl::FailedPreconditionError(absl::StrCat("the pin of ", pin.range().ToString(),
                                                      " was revoked: its key is dead; pin again"));
  }
  ScatterOwner& owner = impl_->arena.New();
  owner.pin = std::move(pin);
  impl_->owners[index] = {owner, Provenance::kPinned};
  return absl::OkStatus();
}

absl::StatusOr<std::size_t> ScatterList::AdoptAll(std::uint32_t lkey,
                                                  const std::shared_ptr<const void>& registration) {
  if (absl::Status usable = Usable(); !usable.ok()) return usable;
  if (registration == nullptr) return NullRegistration();
  std::size_t adopted = 0;
  OwnerWord owner;
  for (std::size_t i = 0; i < impl_->elements.size(); ++i) {
    OwnerWord& there = impl_->owners[i];
    if (impl_->elements[i].lkey != lkey || there != OwnerWord()) continue;
    if (adopted++ == 0) {
      ScatterOwner& made = impl_->arena.New();
      made.adopted = registration;
      owner = {made, Provenance::kAdopted};
    }
    there = owner;
  }
  return adopted;
}

std::span<const ibv_sge> ScatterList::elements() const {
  if (!Usable().ok()) return {};
  return impl_->elements;
}

std::size_t ScatterList::size() const {
  return elements().size();
}

std::uint64_t ScatterList::total_bytes() const {
  return Usable().ok() ? impl_->total_bytes : 0;
}

std::uint64_t ScatterList::byte_offset() const {
  return Usable().ok() ? impl_->byte_offset : 0;
}

Provenance ScatterList::provenance(std::size_t index) const {
  LINCHPIN_CHECK(index < size());
  return impl_->owners[index].provenance();
}

const void* ScatterList::owner(std::size_t index) const {
  LINCHPIN_CHECK(index < size());
  return impl_->owners[index].get();
}

absl::Status ScatterList::Release(std::uint64_t bytes_written) {
  if (absl::Status usable = Usable(); !usable.ok()) return usable;
  impl_->Release(bytes_written);
  return absl::OkStatus();
}

void ScatterList::Reset() {
  LINCHPIN_CHECK(impl_ != nullptr);
  if (!impl_->released) impl_->Release(kAllBytes);
  impl_->released = false;
  impl_->byte_offset = 0;
}

void ScatterList::ReturnMisuseForTest() {
  impl_->misuse = internal::MisuseIs::kError;
}

absl::Status ReleaseAll(std::span<ScatterList> lists, std::uint64_t bytes_written) {
  absl::Status status;
  for (ScatterList& list : lists) {
    const std::uint64_t before = list.byte_offset();
    status.Update(list.Release(bytes_written - std::min(bytes_written, before)));
  }
  return status;
}

}  // namespace linchpin
