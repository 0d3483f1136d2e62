// Compiles, and links, only against the ucs_rcache that ucx_contender.cc knows: CMake tries it.
#include <sys/mman.h>

extern "C" {
#include <ucm/api/ucm.h>
#include <ucs/memory/rcache.h>
}

int main() {
  ucs_rcache_ops_t operations = {};
  ucs_rcache_params_t params = {};
  params.ops = &operations;
  params.ucm_events = UCM_EVENT_VM_UNMAPPED;
  params.flags = UCS_RCACHE_FLAG_PURGE_ON_FORK;
  params.max_unreleased = 0;
  ucs_rcache_t* cache = nullptr;
  ucs_rcache_region_t* region = nullptr;
  if (ucs_rcache_create(&params, "probe", nullptr, &cache) != UCS_OK) return 1;
  if (ucs_rcache_get(cache, &params, sizeof(params), PROT_READ, nullptr, &region) == UCS_OK) {
    ucs_rcache_region_invalidate(
        cache, region, [](void*) {}, nullptr);
    ucs_rcache_region_put(cache, region);
  }
  ucs_rcache_destroy(cache);
  return 0;
}
