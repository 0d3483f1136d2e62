#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

#include "linchpin/access.h"
#include "linchpin/range.h"
#include "linchpin/registrar.h"

namespace linchpin {

// Why a registration is, or would be, refused.
struct Diagnosis {
  // OK when nothing speaks against it; otherwise what Register answers.
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string sentence;  // The reason, with its numbers. Never empty.
  std::string remedy;    // What to do about it. Empty when there is nothing to do.
  Range offending;       // The first part of the range that is the reason; empty if none is.
  std::string mapping;   // What is mapped there, as "shared file rw- /data/x"; "" if it is not it.
  bool certain = true;   // False when only the kernel could tell, and it was not asked.

  // "sentence; remedy".
  std::string ToString() const;
};

// Says why `registrar` refused, or would refuse, to register `range` for `access`. Looks at the
// mappings, the limits and the device; registers nothing but, once a process, a page of its own to
// find out which rules this kernel has. Takes some 10 us to 1 ms, and never fails.
//
// Thread-safety: any thread, with no lock held that the registrar takes.
Diagnosis Explain(Range range, Access access, Registrar& registrar);

}  // namespace linchpin
