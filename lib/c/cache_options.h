// linchpin_cache_options, checked and turned into CacheOptions.
#pragma once

#include "linchpin/c.h"
#include "linchpin/cache.h"

namespace linchpin::c {

// `given` may be null: all defaults. `monitor` is set to the handle that the options name, or null.
// Returns: 0, or a negative errno.
int ReadOptions(const linchpin_cache_options* given, CacheOptions& options,
                linchpin_monitor*& monitor);

}  // namespace linchpin::c
