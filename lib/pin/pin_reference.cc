// VaddrPin: a reference to a Pin.
#include <utility>

#include "lib/pin/pin.h"
#include "linchpin/pin.h"

namespace linchpin {

const char* ToString(PinKind kind) {
  switch (kind) {
    case PinKind::kTransient:
      return "transient";
    case PinKind::kLongterm:
      return "long-term";
    case PinKind::kOnDemand:
      return "on-demand";
    case PinKind::kFrameOnly:
      return "frame-only";
  }
  return "unknown";
}

VaddrPin::VaddrPin(VaddrPin&& other) noexcept : pin_(std::exchange(other.pin_, nullptr)) {}

VaddrPin& VaddrPin::operator=(VaddrPin&& other) noexcept {
  VaddrPin ended(std::move(other));
  std::swap(pin_, ended.pin_);
  return *this;
}

VaddrPin::~VaddrPin() {
  if (pin_ != nullptr) pin_->Release();
}

VaddrPin VaddrPin::Ref() const {
  pin_->Ref();
  return VaddrPin(pin_);
}

Range VaddrPin::range() const {
  return pin_->range();
}

PinKind VaddrPin::kind() const {
  return pin_->kind();
}

Access VaddrPin::rights() const {
  return pin_->rights();
}

std::size_t VaddrPin::devices() const {
  return pin_->devices();
}

std::uint32_t VaddrPin::lkey(std::size_t device) const {
  return pin_->keys(device).lkey;
}

std::uint32_t VaddrPin::rkey(std::size_t device) const {
  return pin_->keys(device).rkey;
}

bool VaddrPin::revoked() const {
  return pin_->revoked();
}

absl::StatusOr<std::vector<std::uint64_t>> VaddrPin::Frames() const {
  return pin_->Frames();
}

absl::StatusOr<std::vector<Range>> VaddrPin::SharedFrames() const {
  return pin_->SharedFrames();
}

absl::StatusOr<std::vector<Range>> VaddrPin::MovedFrames() const {
  return pin_->MovedFrames();
}

absl::StatusOr<PhyrList> VaddrPin::Phyrs() const {
  return pin_->Phyrs();
}

void VaddrPin::MarkDirty(Range written) {
  pin_->MarkDirty(written);
}

std::vector<Range> VaddrPin::dirty() const {
  return pin_->dirty();
}

}  // namespace linchpin
