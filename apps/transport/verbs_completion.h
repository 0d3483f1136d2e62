// CompletionOf: what a work completion of verbs means for a transfer.
#pragma once

#include <infiniband/verbs.h>

#include "linchpin/loopback.h"

namespace linchpin {

// `status` is of the first work request that failed; those behind it are flushed.
//
// For a dead lkey rxe says IBV_WC_LOC_QP_OP_ERR on 6.1, and on 6.12 IBV_WC_WR_FLUSH_ERR, as if
// another had failed before. Both also stand for a request that found the port down, which
// `port_active` tells apart. Other devices would mean a malformed request, which we never make.
Completion CompletionOf(ibv_wc_status status, bool port_active);

}  // namespace linchpin
