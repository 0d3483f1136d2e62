// linchpin_acquire, linchpin_release, and what may be asked of a lease.
#include <cerrno>
#include <utility>

#include "lib/c/guarded.h"
#include "lib/c/handles.h"
#include "lib/c/lease_parts.h"
#include "linchpin/access.h"

namespace linchpin::c {
namespace {

using internal::LeaseParts;

static_assert(LINCHPIN_LOCAL_WRITE == static_cast<int>(Access::kLocalWrite));
static_assert(LINCHPIN_REMOTE_WRITE == static_cast<int>(Access::kRemoteWrite));
static_assert(LINCHPIN_REMOTE_READ == static_cast<int>(Access::kRemoteRead));
static_assert(LINCHPIN_REMOTE_ATOMIC == static_cast<int>(Access::kRemoteAtomic));
static_assert(LINCHPIN_MW_BIND == static_cast<int>(Access::kMwBind));
static_assert(LINCHPIN_ON_DEMAND == static_cast<int>(Access::kOnDemand));
static_assert(LINCHPIN_RELAXED_ORDERING == static_cast<int>(Access::kRelaxedOrdering));
static_assert(LINCHPIN_LEASE_VALID == static_cast<int>(LeaseState::kValid));
static_assert(LINCHPIN_LEASE_STALE == static_cast<int>(LeaseState::kStale));
static_assert(LINCHPIN_LEASE_REVOKED == static_cast<int>(LeaseState::kRevoked));
static_assert(sizeof(linchpin_lease) == 40);

// Returns: 0 when there is something to ask.
int CheckHeld(const linchpin_cache* cache, const linchpin_lease* lease) {
  if (cache == nullptr) return Fail(EINVAL, "the cache is NULL");
  if (lease == nullptr) return Fail(EINVAL, "the lease is NULL");
  if (LeaseParts::IsEmpty(*lease)) {
    return Fail(EINVAL, "the lease was released, or never acquired; acquire it first");
  }
  return 0;
}

}  // namespace
}  // namespace linchpin::c

using linchpin::c::Fail;
using linchpin::c::Guarded;
using linchpin::c::LeaseParts;

int linchpin_acquire(linchpin_cache* cache, const void* address, size_t length, uint32_t access,
                     struct linchpin_lease* out) {
  if (out == nullptr) return Fail(EINVAL, "the lease is NULL; there is nowhere to put it");
  *out = linchpin_lease{};
  if (cache == nullptr) return Fail(EINVAL, "the cache is NULL");
  return Guarded([&] {
    auto lease = cache->cache->Acquire(address, length, static_cast<linchpin::Access>(access));
    if (!lease.ok()) return linchpin::c::CacheResult(*cache, lease.status());
    LeaseParts::Store(*std::move(lease), *out);
    return 0;
  });
}

// Nothing of `cache` is touched: the lease knows where it belongs, and with the last one released
// another thread may close the cache at once.
void linchpin_release(linchpin_cache* /*cache*/, struct linchpin_lease* lease) {
  if (lease == nullptr || LeaseParts::IsEmpty(*lease)) return;
  const linchpin::Lease released = LeaseParts::Take(*lease);
}

int linchpin_lease_state(linchpin_cache* cache, const struct linchpin_lease* lease) {
  return Guarded([&] {
    if (const int error = linchpin::c::CheckHeld(cache, lease); error != 0) return error;
    return static_cast<int>((*LeaseParts::Borrowed(*lease)).state());
  });
}

int linchpin_lease_keys(linchpin_cache* cache, const struct linchpin_lease* lease, size_t device,
                        uint32_t* lkey, uint32_t* rkey) {
  if (lkey != nullptr) *lkey = 0;
  if (rkey != nullptr) *rkey = 0;
  if (const int error = linchpin::c::CheckHeld(cache, lease); error != 0) return error;
  if (lkey == nullptr || rkey == nullptr) return Fail(EINVAL, "lkey or rkey is NULL");
  if (device != 0) return Fail(EINVAL, "the registrar has one device, number 0");
  *lkey = lease->lkey;
  *rkey = lease->rkey;
  return 0;
}
