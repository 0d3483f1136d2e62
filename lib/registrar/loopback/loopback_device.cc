// LoopbackDevice: checks keys, bounds and rights, then lets a transfer move the pinned pages.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/mutex.h"
#include "lib/base/process.h"
#include "lib/registrar/loopback/bounce.h"
#include "lib/registrar/loopback/key_table.h"
#include "lib/registrar/loopback/slot_pool.h"
#include "lib/registrar/loopback/transfer.h"
#include "linchpin/loopback.h"

namespace linchpin {
namespace {

using loopback::BounceLease;
using loopback::HeldRegion;
using loopback::PinnedExtent;
using loopback::Region;
using loopback::Slot;

// A registration's handle holds its key in the lower half; the bit above makes it never 0.
constexpr std::uint64_t kHandleBit = std::uint64_t{1} << 32;

// One side of a transfer: its regions, held, and the pinned extents that its bytes are in.
struct Side {
  std::vector<HeldRegion> regions;
  std::vector<PinnedExtent> extents;
  std::size_t bytes = 0;
};

absl::Status CheckRequest(Range range, Access access) {
  if (range.start == 0 || range.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot register ", range.ToString(), "; give a non-null address and a length above 0"));
  }
  if (absl::Status status = Validate(access); !status.ok()) return status;
  if (Any(access & Access::kOnDemand)) {
    return absl::UnimplementedError(
        "the loopback device has no on-demand paging: its transfers move pinned pages; register "
        "without Access::kOnDemand");
  }
  if (Any(access & Access::kMwBind)) {
    return absl::UnimplementedError(
        "the loopback device has no memory windows; register without Access::kMwBind");
  }
  return absl::OkStatus();
}

}  // namespace

class LoopbackDevice::Impl {
 public:
  absl::Status Open() {
    if (absl::Status status = slots_.Open(); !status.ok()) return status;
    return bounces_.Open();
  }

  bool InForkedChild() const { return ProcessCookie() != process_; }
  static void Abandon(std::unique_ptr<Impl> impl);

  absl::StatusOr<std::uint32_t> Register(Range range, Access access);
  absl::Status Deregister(std::uint32_t key);
  std::uint64_t max_regions() const { return keys_.capacity(); }

  Completion Write(std::span<const LocalExtent> local, RemoteExtent remote);
  Completion Read(std::span<const LocalExtent> local, RemoteExtent remote);
  Completion CompareAndSwap(LocalExtent local, RemoteExtent remote, std::uint64_t compare,
                            std::uint64_t swap);

 private:
  absl::Status PinAll(Region& region);
  int PinOne(const Slot& slot, Range piece);
  int UnpinAll(std::span<const Slot> slots);

  bool HoldLocal(std::span<const LocalExtent> extents, Access rights, Side& side);
  bool HoldRemote(RemoteExtent remote, std::size_t bytes, Access rights, Side& side);
  Completion Copy(const Side& from, const Side& to);

  const std::uint64_t process_ = ProcessCookie();
  loopback::SlotPool slots_;
  loopback::BouncePool bounces_;
  loopback::KeyTable keys_;

  // Held from the read to the write of an atomic operation, so that no other comes between.
  Mutex atomics_;

  Impl* next_abandoned_ = nullptr;
};

// In a forked child: closes the descriptors, and leaves the memory, still reachable, to the end of
// the process. Other threads of the parent may have been changing it, and to destroy a condition
// variable would wait for those that wait on it in the parent.
void LoopbackDevice::Impl::Abandon(std::unique_ptr<Impl> impl) {
  static std::atomic<Impl*> abandoned{nullptr};
  impl->slots_.CloseInForkedChild();
  impl->bounces_.CloseInForkedChild();
  Impl* const left = impl.release();
  left->next_abandoned_ = abandoned.load();
  while (!abandoned.compare_exchange_weak(left->next_abandoned_, left)) {
  }
}

absl::StatusOr<std::uint32_t> LoopbackDevice::Impl::Register(Range range, Access access) {
  const absl::StatusOr<std::uint32_t> key = keys_.Reserve();
  if (!key.ok()) return key.status();
  Region region{.range = range, .access = access, .slots = {}};
  if (absl::Status status = PinAll(region); !status.ok()) {
    keys_.Cancel(*key);
    return status;
  }
  keys_.Publish(*key, std::move(region));
  return *key;
}

// All or nothing.
absl::Status LoopbackDevice::Impl::PinAll(Region& region) {
  absl::StatusOr<std::vector<Slot>> slots = slots_.Take(Region::PieceCount(region.range));
  if (!slots.ok()) return slots.status();
  for (std::size_t i = 0; i < slots->size(); ++i) {
    const int error = PinOne((*slots)[i], Region::Piece(region.range, i));
    if (error == 0) continue;
    slots_.Return(std::span(*slots).subspan(i));
    UnpinAll(std::span(*slots).first(i));
    return RegistrationError(
        error, "io_uring registration (it pins for writing, whatever the rights)", region.range);
  }
  region.slots = *std::move(slots);
  return absl::OkStatus();
}

int LoopbackDevice::Impl::PinOne(const Slot& slot, Range piece) {
  const int error = slot.ring->Pin(slot.index, piece);
  // What was deregistered may not be off the limit yet.
  if (error == ENOMEM && slots_.FlushUnpinned()) return slot.ring->Pin(slot.index, piece);
  return error;
}

// Returns: 0, or the last errno value. A slot that could not be emptied is never used again.
int LoopbackDevice::Impl::UnpinAll(std::span<const Slot> slots) {
  int last_error = 0;
  for (const Slot& slot : slots) {
    const int error = slot.ring->Unpin(slot.index);
    if (error == 0) {
      slots_.Return({&slot, 1});
    } else {
      last_error = error;
    }
  }
  return last_error;
}

absl::Status LoopbackDevice::Impl::Deregister(std::uint32_t key) {
  const std::optional<Region> region = keys_.Kill(key);
  if (!region.has_value()) {
    return absl::InvalidArgumentError(
        "the registration is not, or no longer, one of this loopback device; deregister it once, "
        "where it was registered");
  }
  const int error = UnpinAll(region->slots);
  keys_.Free(key);
  if (error == 0) return absl::OkStatus();
  return ErrnoToStatus(error, absl::StrCat("io_uring deregistration of ", region->range.ToString()),
                       "its memory may stay pinned until the device is destroyed");
}

bool LoopbackDevice::Impl::HoldLocal(std::span<const LocalExtent> extents, Access rights,
                                     Side& side) {
  side.regions.reserve(extents.size());
  side.extents.reserve(extents.size());
  for (const LocalExtent& extent : extents) {
    if (extent.length == 0) continue;  // As an RDMA device: nothing to reach, nothing to check.
    const auto start = reinterpret_cast<std::uintptr_t>(extent.address);
    const Range range{start, start + extent.length};
    if (range.empty()) return false;  // It wraps.
    std::optional<HeldRegion> held = keys_.Hold(extent.lkey, range, rights);
    if (!held.has_value()) return false;
    held->region().AppendExtents(range, side.extents);
    side.regions.push_back(*std::move(held));
    if (__builtin_add_overflow(side.bytes, extent.length, &side.bytes)) return false;
  }
  return true;
}

bool LoopbackDevice::Impl::HoldRemote(RemoteExtent remote, std::size_t bytes, Access rights,
                                      Side& side) {
  const Range range{remote.address, remote.address + bytes};
  if (range.empty()) return false;  // It wraps.
  std::optional<HeldRegion> held = keys_.Hold(remote.rkey, range, rights);
  if (!held.has_value()) return false;
  held->region().AppendExtents(range, side.extents);
  side.regions.push_back(*std::move(held));
  side.bytes = bytes;
  return true;
}

Completion LoopbackDevice::Impl::Copy(const Side& from, const Side& to) {
  const BounceLease bounce(bounces_);
  if (loopback::Copy(from.extents, to.extents, *bounce)) return Completion::kSuccess;
  (*bounce).Discard();
  return Completion::kGeneralError;
}

Completion LoopbackDevice::Impl::Write(std::span<const LocalExtent> local, RemoteExtent remote) {
  Side from;
  Side to;
  if (!HoldLocal(local, Access::kLocalRead, from)) return Completion::kLocalProtectionError;
  if (from.bytes == 0) return Completion::kSuccess;  // And the rkey is not looked at.
  if (!HoldRemote(remote, from.bytes, Access::kRemoteWrite, to)) {
    return Completion::kRemoteAccessError;
  }
  return Copy(from, to);
}

Completion LoopbackDevice::Impl::Read(std::span<const LocalExtent> local, RemoteExtent remote) {
  Side from;
  Side to;
  if (!HoldLocal(local, Access::kLocalWrite, to)) return Completion::kLocalProtectionError;
  if (to.bytes == 0) return Completion::kSuccess;  // And the rkey is not looked at.
  if (!HoldRemote(remote, to.bytes, Access::kRemoteRead, from)) {
    return Completion::kRemoteAccessError;
  }
  return Copy(from, to);
}

Completion LoopbackDevice::Impl::CompareAndSwap(LocalExtent local, RemoteExtent remote,
                                                std::uint64_t compare, std::uint64_t swap) {
  constexpr std::size_t kBytes = sizeof(std::uint64_t);
  Side result;
  Side target;
  if (!HoldLocal({&local, 1}, Access::kLocalWrite, result)) {
    return Completion::kLocalProtectionError;
  }
  if (result.bytes != kBytes || remote.address % kBytes != 0) {
    return Completion::kRemoteInvalidRequest;
  }
  if (!HoldRemote(remote, kBytes, Access::kRemoteAtomic, target)) {
    return Completion::kRemoteAccessError;
  }
  const BounceLease bounce(bounces_);
  std::array<std::byte, kBytes> old{};
  std::array<std::byte, kBytes> wanted{};
  std::array<std::byte, kBytes> replacement{};
  std::memcpy(wanted.data(), &compare, kBytes);
  std::memcpy(replacement.data(), &swap, kBytes);
  bool done = false;
  {
    const MutexLock lock(atomics_);
    done = loopback::Load(target.extents, old, *bounce) &&
           (old != wanted || loopback::Store(replacement, target.extents, *bounce));
  }
  done = done && loopback::Store(old, result.extents, *bounce);
  if (done) return Completion::kSuccess;
  (*bounce).Discard();
  return Completion::kGeneralError;
}

absl::StatusOr<std::shared_ptr<LoopbackDevice>> LoopbackDevice::Create() {
  auto impl = std::make_unique<Impl>();
  if (const absl::Status status = impl->Open(); !status.ok()) return status;
  return std::shared_ptr<LoopbackDevice>(new LoopbackDevice(std::move(impl)));
}

LoopbackDevice::LoopbackDevice(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

LoopbackDevice::~LoopbackDevice() {
  if (impl_->InForkedChild()) Impl::Abandon(std::move(impl_));
}

absl::StatusOr<Registration> LoopbackDevice::Register(Range range, Access access) {
  if (impl_->InForkedChild()) {
    return absl::FailedPreconditionError(
        "the loopback device belongs to the parent of this forked process; make one here");
  }
  if (absl::Status status = CheckRequest(range, access); !status.ok()) return status;
  const absl::StatusOr<std::uint32_t> key = impl_->Register(range, access);
  if (!key.ok()) return key.status();
  const std::uint32_t rkey = Any(access & kRemoteRights) ? *key : 0;
  return Registration{.range = range,
                      .access = access,
                      .keys = {{.lkey = *key, .rkey = rkey}},
                      .handle = kHandleBit | *key};
}

absl::Status LoopbackDevice::Deregister(Registration& registration) {
  if (!impl_->InForkedChild()) {
    const auto key = static_cast<std::uint32_t>(registration.handle & ~kHandleBit);
    if (absl::Status status = impl_->Deregister(key); !status.ok()) return status;
  }
  registration.handle = 0;
  return absl::OkStatus();
}

RegistrarLimits LoopbackDevice::limits() const {
  RegistrarLimits limits;
  limits.max_regions = impl_->InForkedChild() ? 0 : impl_->max_regions();
  limits.pins_for_writing = true;
  limits.shares_memlock = true;
  // A region begins and ends in the middle of a piece.
  limits.max_region_bytes = (loopback::SlotPool::kSlotsMax - 1) * Region::kPieceBytes;
  return limits;
}

Completion LoopbackDevice::Write(std::span<const LocalExtent> local, RemoteExtent remote) {
  if (impl_->InForkedChild()) return Completion::kGeneralError;
  return impl_->Write(local, remote);
}

Completion LoopbackDevice::Read(std::span<const LocalExtent> local, RemoteExtent remote) {
  if (impl_->InForkedChild()) return Completion::kGeneralError;
  return impl_->Read(local, remote);
}

Completion LoopbackDevice::CompareAndSwap(LocalExtent local, RemoteExtent remote,
                                          std::uint64_t compare, std::uint64_t swap) {
  if (impl_->InForkedChild()) return Completion::kGeneralError;
  return impl_->CompareAndSwap(local, remote, compare, swap);
}

std::string_view ToString(Completion completion) {
  switch (completion) {
    case Completion::kSuccess:
      return "success";
    case Completion::kLocalProtectionError:
      return "local protection error";
    case Completion::kRemoteAccessError:
      return "remote access error";
    case Completion::kRemoteInvalidRequest:
      return "remote invalid request error";
    case Completion::kGeneralError:
      return "general error";
  }
  return "unknown completion";
}

}  // namespace linchpin
