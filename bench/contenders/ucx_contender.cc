#include "bench/contenders/ucx_contender.h"

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <limits>

extern "C" {
#include <ucm/api/ucm.h>
}

namespace linchpin::bench {
namespace {

// What UCT keeps in a region, in its size: the MR and its keys.
struct UcxRegion {
  ucs_rcache_region_t super;
  void* mr;
  std::uint32_t lkey;
  std::uint32_t rkey;
};

ucs_status_t Register(void* context, ucs_rcache_t* /*cache*/, void* /*arg*/,
                      ucs_rcache_region_t* region, std::uint16_t /*flags*/) {
  auto* const own = reinterpret_cast<UcxRegion*>(region);
  const Range range{region->super.start, region->super.end};
  own->lkey = static_cast<NoopDevice*>(context)->Register(range);
  own->rkey = own->lkey;
  return UCS_OK;
}

void Deregister(void* context, ucs_rcache_t* /*cache*/, ucs_rcache_region_t* /*region*/) {
  static_cast<NoopDevice*>(context)->Deregister();
}

void Dump(void* /*context*/, ucs_rcache_t* /*cache*/, ucs_rcache_region_t* /*region*/, char* text,
          std::size_t size) {
  if (size > 0) text[0] = '\0';
}

constexpr ucs_rcache_ops_t kOperations = {
    .mem_reg = Register, .mem_dereg = Deregister, .dump_region = Dump};

}  // namespace

UcxContender::UcxContender(Hooks hooks) {
  constexpr int kUctEventPriority = 1000;  // UCX_IB_RCACHE_MEM_PRIO.
  ucs_rcache_params_t params = {};
  params.region_struct_size = sizeof(UcxRegion);
  params.alignment = UCS_RCACHE_MIN_ALIGNMENT;
  params.max_alignment = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  params.ucm_events = hooks == Hooks::kUnmap ? UCM_EVENT_VM_UNMAPPED : 0;
  params.ucm_event_priority = kUctEventPriority;
  params.ops = &kOperations;
  params.context = &device_;
  params.flags = UCS_RCACHE_FLAG_PURGE_ON_FORK;
  params.max_regions = std::numeric_limits<unsigned long>::max();
  params.max_size = std::numeric_limits<std::size_t>::max();
  params.max_unreleased = std::numeric_limits<std::size_t>::max();
  if (ucs_rcache_create(&params, "linchpin_bench", nullptr, &cache_) != UCS_OK) {
    Fail("ucs_rcache_create failed");
  }
}

UcxContender::~UcxContender() {
  ucs_rcache_destroy(cache_);
}

}  // namespace linchpin::bench
