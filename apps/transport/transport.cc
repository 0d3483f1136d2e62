#include "apps/transport/transport.h"

#include "absl/strings/str_cat.h"

namespace linchpin {

absl::StatusOr<Completion> Transport::Run(const Transfer& transfer) {
  if (outstanding() != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "Run with ", outstanding(), " transfers outstanding; Poll until there are none"));
  }
  if (absl::Status posted = Post(transfer); !posted.ok()) return posted;
  return Poll();
}

absl::Status Transport::CheckPost(const Transfer& transfer) const {
  if (outstanding() >= depth()) {
    return absl::FailedPreconditionError(absl::StrCat(
        outstanding(), " transfers are outstanding, at most ", depth(), "; Poll first"));
  }
  const bool one_word = transfer.local.size() == 1 && transfer.local[0].length == 8;
  if (transfer.operation == Operation::kCompareAndSwap && !one_word) {
    return absl::InvalidArgumentError(
        "compare-and-swap takes one local extent of 8 bytes, for the old value");
  }
  return absl::OkStatus();
}

}  // namespace linchpin
