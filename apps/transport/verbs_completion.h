// CompletionOf: what a work completion of verbs means for a transfer.
#pragma once

#include <infiniband/verbs.h>

#include "linchpin/loopback.h"

namespace linchpin {

Completion CompletionOf(ibv_wc_status status);

}  // namespace linchpin
