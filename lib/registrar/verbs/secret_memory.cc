#include "lib/registrar/verbs/secret_memory.h"

#include "absl/strings/str_cat.h"

#include "lib/memory/procmap.h"
#include "lib/pin/pin_rules.h"

namespace linchpin {

absl::Status CheckNotSecret(Range range) {
  const auto mappings = LookUpMappings(range);
  if (!mappings.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("on-demand registration of ", range.ToString(),
                     ": cannot rule out that it is secret memory (", mappings.status().message(),
                     "); mount /proc, or leave out Access::kOnDemand"));
  }
  const PinCase secret{.target = PinTarget::kSecretmem, .kind = PinKind::kOnDemand};
  if (!IsRefusal(Decide(secret, {}).verdict)) return absl::OkStatus();
  for (const Mapping& mapping : *mappings) {
    if (mapping.kind != MappingKind::kSecretmem) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("on-demand registration of ", range.ToString(),
                     ": part of it is memory of memfd_secret, which no device may reach; use other "
                     "memory"));
  }
  return absl::OkStatus();
}

}  // namespace linchpin
