// What a failed call of the C ABI leaves behind: an errno value for the caller, and a sentence for
// linchpin_last_error().
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace linchpin::c {

// Keeps `sentence` for this thread. Not after the thread's own destructors have run.
void SetLastError(std::string_view sentence) noexcept;
const char* LastError() noexcept;

// Keeps `sentence`, and returns -`error`.
int Fail(int error, std::string_view sentence) noexcept;

// Keeps the message of `status`, and returns the negative errno that c.h promises for its code; 0
// for OK, and then keeps nothing.
int Result(const absl::Status& status) noexcept;

}  // namespace linchpin::c
