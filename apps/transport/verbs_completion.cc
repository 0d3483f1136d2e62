#include "apps/transport/verbs_completion.h"

namespace linchpin {

Completion CompletionOf(ibv_wc_status status, bool port_active) {
  switch (status) {
    case IBV_WC_SUCCESS:
      return Completion::kSuccess;
    case IBV_WC_LOC_PROT_ERR:
      return Completion::kLocalProtectionError;
    case IBV_WC_LOC_QP_OP_ERR:
    case IBV_WC_WR_FLUSH_ERR:
      return port_active ? Completion::kLocalProtectionError : Completion::kGeneralError;
    case IBV_WC_REM_ACCESS_ERR:
      return Completion::kRemoteAccessError;
    case IBV_WC_REM_INV_REQ_ERR:
      return Completion::kRemoteInvalidRequest;
    default:
      return Completion::kGeneralError;
  }
}

}  // namespace linchpin
