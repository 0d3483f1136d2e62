#pragma once

// All of Linchpin's C++ API.

#include "linchpin/access.h"        // IWYU pragma: export
#include "linchpin/cache.h"         // IWYU pragma: export
#include "linchpin/dma_map.h"       // IWYU pragma: export
#include "linchpin/explain.h"       // IWYU pragma: export
#include "linchpin/loopback.h"      // IWYU pragma: export
#include "linchpin/monitor.h"       // IWYU pragma: export
#include "linchpin/phyr.h"          // IWYU pragma: export
#include "linchpin/phyr_convert.h"  // IWYU pragma: export
#include "linchpin/pin.h"           // IWYU pragma: export
#include "linchpin/pin_file.h"      // IWYU pragma: export
#include "linchpin/range.h"         // IWYU pragma: export
#include "linchpin/registrar.h"     // IWYU pragma: export
#include "linchpin/scatter_list.h"  // IWYU pragma: export
#include "linchpin/verbs.h"         // IWYU pragma: export
