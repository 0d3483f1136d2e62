// linchpin_cache_...: a RegistrationCache behind a handle.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "lib/base/process.h"
#include "lib/c/cache_options.h"
#include "lib/c/guarded.h"
#include "lib/c/handles.h"
#include "lib/c/sized_struct.h"

namespace linchpin::c {
namespace {

constexpr const char* kNoCache = "the cache is NULL";

absl::Duration Timeout(int timeout_ms) {
  return timeout_ms < 0 ? absl::InfiniteDuration() : absl::Milliseconds(timeout_ms);
}

// What a manual monitor is to tell of; the cache cuts off in the same way.
Range Clamped(const void* address, std::size_t length) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  return {start, start + std::min(length, std::numeric_limits<std::uintptr_t>::max() - start)};
}

// Where the application is the monitor, it speaks to all the caches that listen, this one too.
void Invalidate(const linchpin_cache& cache, const void* address, std::size_t length) {
  if (cache.monitor != nullptr) {
    cache.monitor->monitor->Changed(Clamped(address, length));
  } else {
    cache.cache->Invalidate(address, length);
  }
}

// Counts a cache on its handles for as long as it is open.
class Users final {
 public:
  Users(linchpin_registrar* registrar, linchpin_monitor* monitor)
      : registrar_(registrar), monitor_(monitor) {
    registrar_->users.fetch_add(1, std::memory_order_relaxed);
    if (monitor_ != nullptr) monitor_->users.fetch_add(1, std::memory_order_relaxed);
  }
  Users(const Users&) = delete;
  Users& operator=(const Users&) = delete;
  ~Users() {
    if (!keep_) Leave(registrar_, monitor_);
  }
  void Keep() { keep_ = true; }

  // Release: pairs with CloseHandle; whatever the cache did with the handles came before.
  static void Leave(linchpin_registrar* registrar, linchpin_monitor* monitor) {
    if (monitor != nullptr) monitor->users.fetch_sub(1, std::memory_order_release);
    registrar->users.fetch_sub(1, std::memory_order_release);
  }

 private:
  linchpin_registrar* const registrar_;
  linchpin_monitor* const monitor_;
  bool keep_ = false;
};

int Open(linchpin_registrar* registrar, const linchpin_cache_options* given, linchpin_cache** out) {
  CacheOptions options;
  linchpin_monitor* monitor = nullptr;
  if (const int error = ReadOptions(given, options, monitor); error != 0) return error;
  Users users(registrar, monitor);
  auto cache = RegistrationCache::Create(registrar->registrar, std::move(options));
  if (!cache.ok()) return Result(cache.status());
  *out = new linchpin_cache{*std::move(cache), registrar, monitor, ProcessCookie()};
  users.Keep();
  return 0;
}

int Close(linchpin_cache* cache) {
  if (!Inherited(*cache)) {
    // Asked first: to try would refuse the leases that other threads acquire meanwhile.
    if (const std::uint64_t leases = cache->cache->stats().leases; leases != 0) {
      return Fail(EBUSY, std::to_string(leases) + " leases are out; release them first");
    }
    const absl::Status closed = cache->cache->Close(absl::ZeroDuration());
    if (absl::IsFailedPrecondition(closed)) {
      return Fail(EBUSY, std::string(closed.message()) + "; wait for it first");
    }
    if (!closed.ok()) return Result(closed);
  }
  linchpin_registrar* const registrar = cache->registrar;
  linchpin_monitor* const monitor = cache->monitor;
  delete cache;
  Users::Leave(registrar, monitor);
  return 0;
}

// c.h has a function of this name too.
using Stats = struct linchpin_cache_stats;

Stats Snapshot(const CacheStats& stats) {
  Stats snapshot{};
  snapshot.struct_size = sizeof(snapshot);
  snapshot.hits = stats.hits;
  snapshot.misses = stats.misses;
  snapshot.registrations = stats.registrations;
  snapshot.deregistrations = stats.deregistrations;
  snapshot.invalidations = stats.invalidations;
  snapshot.evictions = stats.evictions;
  snapshot.retries = stats.retries;
  snapshot.failures = stats.failures;
  snapshot.regions = stats.regions;
  snapshot.bytes = stats.bytes;
  snapshot.idle_bytes = stats.idle_bytes;
  snapshot.leases = stats.leases;
  snapshot.stale_regions = stats.stale_regions;
  snapshot.leaked = stats.leaked;
  snapshot.unwatched = stats.unwatched;
  return snapshot;
}

}  // namespace
}  // namespace linchpin::c

using linchpin::c::CacheResult;
using linchpin::c::Fail;
using linchpin::c::Guarded;
using linchpin::c::kNoCache;

void linchpin_cache_options_init(struct linchpin_cache_options* options) {
  if (options == nullptr) return;
  *options = linchpin_cache_options{};
  options->struct_size = sizeof(*options);
}

int linchpin_cache_open(linchpin_registrar* registrar, const struct linchpin_cache_options* options,
                        linchpin_cache** out) {
  if (out == nullptr) {
    return Fail(EINVAL, "the out pointer is NULL; there is nowhere to put the cache");
  }
  *out = nullptr;
  if (registrar == nullptr) return Fail(EINVAL, "the registrar is NULL; open one first");
  return Guarded([&] { return linchpin::c::Open(registrar, options, out); });
}

int linchpin_cache_close(linchpin_cache* cache) {
  if (cache == nullptr) return Fail(EINVAL, kNoCache);
  return Guarded([&] { return linchpin::c::Close(cache); });
}

void linchpin_invalidate(linchpin_cache* cache, const void* address, size_t length) {
  if (cache == nullptr) return linchpin::c::SetLastError(kNoCache);
  Guarded([&] {
    linchpin::c::Invalidate(*cache, address, length);
    return 0;
  });
}

int linchpin_fence(linchpin_cache* cache, const void* address, size_t length, int timeout_ms) {
  if (cache == nullptr) return Fail(EINVAL, kNoCache);
  return Guarded([&] {
    linchpin::c::Invalidate(*cache, address, length);  // For the other caches of its monitor.
    return CacheResult(*cache,
                       cache->cache->Fence(address, length, linchpin::c::Timeout(timeout_ms)));
  });
}

uint64_t linchpin_trim(linchpin_cache* cache, uint64_t bytes_to_keep) {
  uint64_t left = 0;
  if (cache == nullptr) {
    linchpin::c::SetLastError(kNoCache);
    return left;
  }
  Guarded([&] {
    left = cache->cache->Trim(bytes_to_keep);
    return 0;
  });
  return left;
}

int linchpin_drain(linchpin_cache* cache, int timeout_ms) {
  if (cache == nullptr) return Fail(EINVAL, kNoCache);
  return Guarded(
      [&] { return CacheResult(*cache, cache->cache->Drain(linchpin::c::Timeout(timeout_ms))); });
}

int linchpin_cache_stats(linchpin_cache* cache, struct linchpin_cache_stats* out) {
  if (cache == nullptr) return Fail(EINVAL, kNoCache);
  if (out == nullptr) return Fail(EINVAL, "the statistics' struct is NULL");
  return Guarded([&] {
    return linchpin::c::CopyOut(linchpin::c::Snapshot(cache->cache->stats()),
                                "linchpin_cache_stats", out);
  });
}
