// PinFile: the user's side.
#include "linchpin/pin_file.h"

#include <utility>

#include "lib/pin/pin_file_core.h"
#include "lib/pin/pin_file_source.h"

namespace linchpin {

using internal::PinFileCore;

absl::StatusOr<PinFile::Created> PinFile::Create(PinFileOptions options) {
  auto made = internal::MakeHolder();
  if (!made.ok()) return made.status();
  auto core = PinFileCore::Make(std::move(made->source), std::move(options));
  if (!core.ok()) return core.status();
  return Created{std::shared_ptr<PinFile>(new PinFile(*std::move(core))), made->holder.Release()};
}

absl::StatusOr<std::shared_ptr<PinFile>> PinFile::Attach(int fd, PinFileOptions options) {
  auto source = internal::PeerOf(fd, options.half_close_is_alive);
  if (!source.ok()) return source.status();
  auto core = PinFileCore::Make(*std::move(source), std::move(options));
  if (!core.ok()) return core.status();
  return std::shared_ptr<PinFile>(new PinFile(*std::move(core)));
}

PinFile::PinFile(std::shared_ptr<PinFileCore> core) : core_(std::move(core)) {}

PinFile::~PinFile() {
  core_->Forsake();
}

bool PinFile::alive() const {
  return core_->alive();
}

bool PinFile::revoked() const {
  return core_->revoked();
}

std::uint64_t PinFile::held() const {
  return core_->Held();
}

absl::Status PinFile::Revoke(absl::Duration timeout) {
  return core_->Revoke(timeout, "it was revoked");
}

absl::Status PinFile::Close() {
  return core_->Close();
}

absl::Status PinFile::Sync() {
  return core_->Sync();
}

std::uint64_t PinFile::id() const {
  return core_->id();
}

const std::string& PinFile::name() const {
  return core_->name();
}

const std::shared_ptr<BackingGuard>& PinFile::guard() const {
  return core_->guard();
}

}  // namespace linchpin
