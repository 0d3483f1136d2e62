// UCX's ucs_rcache as a benchmark's contender, set up as UCT's InfiniBand device sets it up: hooks
// on unmapping, its defaults for alignment and priority, no limits, thread-safe get and put.
//
// Its hooks patch the process: they are installed when the first of these is made, and every unmap
// through libc passes through them from then on.
#pragma once

#if LINCHPIN_BENCH_UCX

#include <sys/mman.h>

#include <string_view>

extern "C" {
#include <ucs/memory/rcache.h>
}

#include "bench/contenders/noop_registrar.h"
#include "bench/harness/options.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {

class UcxContender final {
 public:
  static constexpr std::string_view kName = "UCX ucs_rcache";
  static constexpr std::string_view kAbsent = {};
  using Claim = ucs_rcache_region_t*;

  enum class Hooks : bool {
    kNone,   // Nobody unmaps what it knows.
    kUnmap,  // As UCT asks for.
  };

  explicit UcxContender(Hooks hooks = Hooks::kUnmap);
  ~UcxContender();
  UcxContender(const UcxContender&) = delete;
  UcxContender& operator=(const UcxContender&) = delete;

  void Hit(const Request& request) { Release(Acquire(request)); }

  Claim Acquire(const Request& request) {
    Claim claim = nullptr;
    const ucs_status_t status = ucs_rcache_get(cache_, request.address, request.length,
                                               PROT_READ | PROT_WRITE, nullptr, &claim);
    if (status != UCS_OK) Fail("ucs_rcache_get failed");
    return claim;
  }
  void Release(Claim claim) { ucs_rcache_region_put(cache_, claim); }

  void Invalidate(Claim claim) {
    ucs_rcache_region_invalidate(
        cache_, claim, [](void*) {}, nullptr);
  }
  void Finish(Range) {}  // The last put deregisters.

  NoopDevice& device() { return device_; }

 private:
  NoopDevice device_;
  ucs_rcache_t* cache_ = nullptr;
};

}  // namespace linchpin::bench

#else
#include "bench/contenders/ucx_absent.h"  // IWYU pragma: export
#endif
