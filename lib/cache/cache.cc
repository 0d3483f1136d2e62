// The public face of the cache and its leases.
#include "linchpin/cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "lib/base/check.h"
#include "lib/cache/cache_core.h"

namespace linchpin {
namespace {

using internal::CacheCore;
using internal::Clock;

Clock::time_point DeadlineAfter(absl::Duration timeout) {
  const absl::Duration bounded = std::clamp(timeout, absl::ZeroDuration(), absl::Hours(24 * 365));
  return Clock::now() + absl::ToChronoNanoseconds(bounded);
}

// For calls that cannot fail: what of `address` and `length` makes sense as a range.
Range Clamped(const void* address, std::size_t length) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  return {start, start + std::min(length, std::numeric_limits<std::uintptr_t>::max() - start)};
}

}  // namespace

namespace internal {

std::uint32_t TryAcquire(CacheCore& core, const void* address, std::size_t length, Access access) {
  return core.TryAcquire(reinterpret_cast<std::uintptr_t>(address), length, access);
}

void Release(CacheCore& core, std::uint32_t region) noexcept {
  core.Release(region);
}

}  // namespace internal

absl::StatusOr<std::unique_ptr<RegistrationCache>> RegistrationCache::Create(
    std::shared_ptr<Registrar> registrar, CacheOptions options) {
  absl::StatusOr<std::unique_ptr<CacheCore>> core =
      CacheCore::Create(std::move(registrar), std::move(options));
  if (!core.ok()) return core.status();
  return std::unique_ptr<RegistrationCache>(new RegistrationCache(*std::move(core)));
}

RegistrationCache::RegistrationCache(std::unique_ptr<CacheCore> core) : core_(std::move(core)) {}
RegistrationCache::~RegistrationCache() {
  CacheCore::End(std::move(core_));
}

absl::StatusOr<Lease> RegistrationCache::AcquireSlowly(const void* address, std::size_t length,
                                                       Access access) {
  return core_->Acquire(address, length, access);
}

absl::StatusOr<Lease> RegistrationCache::Acquire(const void* address, std::size_t length,
                                                 Access access,
                                                 const std::shared_ptr<PinFile>& owner) {
  if (owner == nullptr) return Acquire(address, length, access);
  return core_->Acquire(address, length, access, *owner);
}

absl::StatusOr<std::vector<Lease>> RegistrationCache::AcquireMany(std::span<const Range> ranges,
                                                                  Access access) {
  return core_->AcquireMany(ranges, access);
}

void RegistrationCache::Invalidate(const void* address, std::size_t length) {
  core_->Invalidate(Clamped(address, length));
}

absl::Status RegistrationCache::Fence(const void* address, std::size_t length,
                                      absl::Duration timeout) {
  return core_->Fence(Clamped(address, length), DeadlineAfter(timeout));
}

std::size_t RegistrationCache::Trim(std::size_t bytes_to_keep) {
  return core_->Trim(bytes_to_keep);
}

absl::Status RegistrationCache::Drain(absl::Duration timeout) {
  return core_->Drain(DeadlineAfter(timeout));
}

absl::Status RegistrationCache::Close(absl::Duration timeout) {
  return core_->Close(DeadlineAfter(timeout));
}

std::uint64_t RegistrationCache::max_region_bytes() const {
  return core_->max_region_bytes();
}

std::uintptr_t RegistrationCache::NextBorder(const Range& range, Access access) const {
  return core_->NextBorder(range, access);
}

CacheStats RegistrationCache::stats() const {
  return core_->stats();
}

void RegistrationCache::CheckInvariantsForTest() {
  core_->CheckInvariantsForTest();
}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  if (core_ != nullptr) internal::Release(*core_, region_);
  core_ = std::exchange(other.core_, nullptr);
  region_ = other.region_;
  range_ = other.range_;
  return *this;
}

std::size_t Lease::devices() const {
  LINCHPIN_CHECK(core_ != nullptr);
  return core_->DevicesOf(region_);
}

std::uint32_t Lease::lkey(std::size_t device) const {
  LINCHPIN_CHECK(core_ != nullptr);
  return core_->KeysOf(region_, device).lkey;
}

std::uint32_t Lease::rkey(std::size_t device) const {
  LINCHPIN_CHECK(core_ != nullptr);
  return core_->KeysOf(region_, device).rkey;
}

Range Lease::registered() const {
  LINCHPIN_CHECK(core_ != nullptr);
  return core_->RegisteredOf(region_);
}

Access Lease::access() const {
  LINCHPIN_CHECK(core_ != nullptr);
  return core_->AccessOf(region_);
}

LeaseState Lease::state() const {
  LINCHPIN_CHECK(core_ != nullptr);
  return core_->StateOf(region_, range_);
}

bool Lease::cached() const {
  LINCHPIN_CHECK(core_ != nullptr);
  return core_->IsKept(region_);
}

bool Lease::revoked() const {
  LINCHPIN_CHECK(core_ != nullptr);
  return core_->IsRevoked(region_);
}

void Lease::MarkDirty(Range written) {
  LINCHPIN_CHECK(core_ != nullptr);
  core_->MarkDirty(region_,
                   {std::max(written.start, range_.start), std::min(written.end, range_.end)});
}

}  // namespace linchpin
