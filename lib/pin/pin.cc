#include "lib/pin/pin.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/check.h"
#include "lib/base/log.h"
#include "lib/base/process.h"
#include "lib/memory/procmap.h"

namespace linchpin::internal {

Pin::Pin(std::shared_ptr<Registrar> registrar, const PinRequest& request)
    : cookie_(ProcessCookie()),
      registrar_(request.kind == PinKind::kFrameOnly ? nullptr : std::move(registrar)),
      range_(request.range),
      kind_(request.kind),
      rights_(request.rights),
      file_(request.file == nullptr ? nullptr : PinFileCore::Of(*request.file)) {}

Pin::~Pin() {
  delete frames_.load();
}

bool Pin::IsOurs() const {
  return cookie_ == ProcessCookie();
}

absl::StatusOr<Pin::Made> Pin::Begin(std::shared_ptr<Registrar> registrar,
                                     const PinRequest& request) {
  Made made(new Pin(std::move(registrar), request));
  if (made->file_ != nullptr) {
    if (absl::Status begun = made->file_->BeginClaim(*made); !begun.ok()) return begun;
    made->claimed_ = true;
  }
  return made;
}

absl::Status Pin::Register(Access access) {
  if (registrar_ == nullptr) return absl::OkStatus();
  auto registered = registrar_->Register(range_, access);
  if (!registered.ok()) return registered.status();
  registration_ = *std::move(registered);
  return absl::OkStatus();
}

absl::StatusOr<VaddrPin> Pin::Publish(Made made) {
  if (!made->GoLive()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the pin file was revoked while ", made->range_.ToString(),
        " was being pinned for it; make another PinFile for what is pinned from now on"));
  }
  return VaddrPin(made.release());
}

// Listed first, so that whoever takes the pin down finds the entry.
bool Pin::GoLive() {
  if (registrar_ != nullptr) List();
  const MutexLock lock(mutex_);
  if (revoked()) return false;
  state_ = State::kLive;
  return true;
}

void Pin::List() {
  LedgerPin pin;
  const std::string device = registrar_->name();
  pin.range = range_;
  pin.kind = kind_;
  pin.rights = rights_;
  pin.device = device;
  if (const auto mapping = LookUpMapping(range_.start); mapping.ok()) {
    pin.file_device = mapping->device;
    pin.file_inode = mapping->inode;
  }
  if (file_ != nullptr) {
    pin.owner = file_->id();
    pin.owner_name = file_->name();
  }
  const LedgerEntry listed = Ledger::OfProcess().Add(pin);
  Ledger::OfProcess().SetLeases(listed, 1);
  const MutexLock lock(mutex_);
  listed_ = listed;
}

void Pin::Ref() {
  references_.fetch_add(1, std::memory_order_relaxed);
  if (!IsOurs()) return;
  const MutexLock lock(mutex_);
  Ledger::OfProcess().SetLeases(listed_, ++users_);
}

void Pin::Release() {
  if (IsOurs()) {
    const MutexLock lock(mutex_);
    if (--users_ > 0) Ledger::OfProcess().SetLeases(listed_, users_);
  }
  Unref();
}

bool Pin::TryRef() {
  std::uint64_t references = references_.load(std::memory_order_relaxed);
  while (references > 0) {
    if (references_.compare_exchange_weak(references, references + 1)) return true;
  }
  return false;
}

void Pin::Unref() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) > 1) return;
  if (IsOurs() && TakeLive(false)) TakeDown();
  delete this;
}

// Returns: whether the caller is the one to take the pin down.
bool Pin::TakeLive(bool revoked) {
  const MutexLock lock(mutex_);
  if (revoked) revoked_.store(true, std::memory_order_release);
  // One in the making that is revoked is taken down by its maker.
  if (state_ == State::kEnded || (revoked && state_ == State::kMaking)) return false;
  state_ = State::kEnded;
  return true;
}

void Pin::OnRevoke(const PinFileCore&) {
  // Without a reference its last one is going, and ends the claim when this has returned.
  if (!TryRef()) return;
  if (TakeLive(true)) TakeDown();
  Unref();
}

void Pin::TakeDown() {
  bool gone = true;
  if (registration_.handle != 0) {
    const absl::Status done = registrar_->Deregister(registration_);
    gone = done.ok();
    if (!gone) {
      Log(absl::StrCat("a pin of ", range_.ToString(), " may have leaked: ", done.ToString()));
    }
  }
  TakeDownFrames();
  if (gone) {
    const MutexLock lock(mutex_);
    Ledger::OfProcess().Remove(std::exchange(listed_, 0));
  }
  if (!claimed_) return;
  if (const std::vector<Range> written = dirty(); !written.empty()) file_->KeepDirty(written);
  file_->EndClaim(*this);
}

const RegistrationKeys& Pin::keys(std::size_t device) const {
  LINCHPIN_CHECK(device < devices());
  return registration_.keys[device];
}

void Pin::MarkDirty(Range written) {
  if (!IsOurs()) return;
  const Range inside{std::max(written.start, range_.start), std::min(written.end, range_.end)};
  if (inside.empty()) return;
  const MutexLock lock(mutex_);
  if (dirty_ == nullptr) dirty_ = std::make_unique<DirtyRanges>();
  dirty_->Add(inside);
}

std::vector<Range> Pin::dirty() const {
  if (!IsOurs()) return {};
  const MutexLock lock(mutex_);
  return dirty_ == nullptr ? std::vector<Range>() : dirty_->ranges();
}

void Pin::OnSync(const PinFileCore&, std::vector<Range>& held) {
  const std::vector<Range> written = dirty();
  held.insert(held.end(), written.begin(), written.end());
}

}  // namespace linchpin::internal
