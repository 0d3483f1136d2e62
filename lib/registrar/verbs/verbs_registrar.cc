// VerbsRegistrar: refuses what the kernel would take wrongly, asks the device for the rest, and
// turns its answers into statuses.
#include <infiniband/verbs.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/process.h"
#include "lib/registrar/verbs/device_rules.h"
#include "lib/registrar/verbs/secret_memory.h"
#include "linchpin/verbs.h"

namespace linchpin {
namespace {

// Verbs report failure in two ways, and some providers in neither: a null MR with errno 0, or -1
// where an errno value belongs. What says nothing is EIO.
int ErrnoOf(int returned) {
  if (returned > 0) return returned;
  return errno != 0 ? errno : EIO;
}

const char* DeregistrationRemedy(int error) {
  switch (error) {
    case EBUSY:
    case EINVAL:
      return "unbind the memory windows of the registration before releasing it";
    case EIO:
    case ENODEV:
    case ENXIO:
      return "the device is gone or in a fatal state: close it and open it again";
    default:
      return "whether the memory is still pinned is unknown until the device is closed";
  }
}

// Immutable after construction, so any thread may call at any time; verbs calls are thread-safe.
class PdRegistrar final : public Registrar {
 public:
  PdRegistrar(ibv_pd* pd, const VerbsTable& verbs, const ibv_device_attr_ex& attributes)
      : pd_(pd), verbs_(verbs), rules_(attributes), process_(ProcessCookie()) {}

  absl::StatusOr<Registration> Register(Range range, Access access) override;
  absl::Status Deregister(Registration& registration) override;
  RegistrarLimits limits() const override { return rules_.limits(); }
  std::string name() const override;

 private:
  // Before the kernel is asked: what it would take wrongly, or refuse without a reason.
  absl::Status Check(Range range, Access access) const;

  ibv_pd* const pd_;
  const VerbsTable& verbs_;
  const DeviceRules rules_;
  const std::uint64_t process_;  // MRs belong to it; a forked child may not touch them.
};

std::string PdRegistrar::name() const {
  const char* name = nullptr;
  if (verbs_.get_device_name != nullptr) name = verbs_.get_device_name(pd_->context);
  return name != nullptr ? name : "verbs";
}

absl::Status PdRegistrar::Check(Range range, Access access) const {
  if (ProcessCookie() != process_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "registration of ", range.ToString(),
        ": this process is a fork of the one that opened the device; open the device again here"));
  }
  // Address 0 with the whole address space as its length would be an implicit on-demand MR.
  const std::size_t length = range.empty() ? 0 : range.size();
  if (auto valid = Range::Of(reinterpret_cast<const void*>(range.start), length); !valid.ok()) {
    return valid.status();
  }
  if (absl::Status valid = Validate(access); !valid.ok()) return valid;
  if (absl::Status able = rules_.Check(range, access); !able.ok()) return able;
  return Any(access & Access::kOnDemand) ? CheckNotSecret(range) : absl::OkStatus();
}

absl::StatusOr<Registration> PdRegistrar::Register(Range range, Access access) {
  if (absl::Status checked = Check(range, access); !checked.ok()) return checked;
  errno = 0;
  ibv_mr* mr = verbs_.reg_mr(pd_, reinterpret_cast<void*>(range.start), range.size(),
                             static_cast<int>(access));
  if (mr == nullptr) {
    return RegistrationError(ErrnoOf(0), absl::StrCat("ibv_reg_mr for ", ToString(access)), range);
  }
  return Registration{.range = range,
                      .access = access,
                      .keys = {{.lkey = mr->lkey, .rkey = mr->rkey}},
                      .handle = reinterpret_cast<std::uintptr_t>(mr)};
}

absl::Status PdRegistrar::Deregister(Registration& registration) {
  if (registration.handle == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("deregistration of ", registration.range.ToString(),
                     ": it is not registered; deregister each registration once"));
  }
  if (ProcessCookie() != process_) {  // It is the parent's, and the parent may still use it.
    registration.handle = 0;
    return absl::OkStatus();
  }
  errno = 0;
  const int result = verbs_.dereg_mr(reinterpret_cast<ibv_mr*>(registration.handle));
  if (result != 0) {
    const int error = ErrnoOf(result);
    return ErrnoToStatus(error, absl::StrCat("ibv_dereg_mr of ", registration.range.ToString()),
                         DeregistrationRemedy(error));
  }
  registration.handle = 0;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<Registrar>> VerbsRegistrar::Create(ibv_pd* pd,
                                                                  VerbsOptions options) {
  if (pd == nullptr) {
    return absl::InvalidArgumentError(
        "the protection domain is null; check what ibv_alloc_pd returned");
  }
  const VerbsTable& verbs = options.table != nullptr ? *options.table : VerbsTable::Libibverbs();
  ibv_device_attr_ex attributes{};  // Zeroed: not every provider fills in every field.
  errno = 0;
  if (const int result = verbs.query_device_ex(pd->context, &attributes); result != 0) {
    return ErrnoToStatus(ErrnoOf(result), "ibv_query_device_ex",
                         "check that the device is still there (ibv_devinfo)");
  }
  return std::make_shared<PdRegistrar>(pd, verbs, attributes);
}

}  // namespace linchpin
