#include "lib/pin/pin_rules.h"

#include <sys/mman.h>

#include <array>
#include <cstddef>

namespace linchpin {
namespace {

using enum PinVerdict;

struct Row {
  PinTarget target;
  PinVerdict pinned_to_read;
  PinVerdict pinned_to_write;
  PinVerdict on_demand;
  PinVerdict frames_only;
};

constexpr std::array<Row, kPinTargets> kTargets{{
    {PinTarget::kHole, kNothingMapped, kNothingMapped, kFaultsLater, kNothingMapped},
    {PinTarget::kAnonymous, kAllowed, kAllowed, kAllowed, kAllowed},
    {PinTarget::kShmem, kNeedsGuard, kNeedsGuard, kAllowed, kAllowed},
    {PinTarget::kHugetlb, kNeedsGuard, kNeedsGuard, kAllowed, kAllowed},
    {PinTarget::kFileShared, kNeedsGuard, kWritesUnheard, kAllowed, kAllowed},
    {PinTarget::kFilePrivate, kNeedsGuard, kNeedsGuard, kAllowed, kAllowed},
    {PinTarget::kFsDax, kFsDax, kFsDax, kAllowed, kAllowed},
    {PinTarget::kSecretmem, kSecret, kSecret, kSecret, kAllowed},
    {PinTarget::kDevice, kNoPages, kNoPages, kFaultsLater, kAllowed},
    {PinTarget::kSpecial, kUnclear, kUnclear, kUnclear, kAllowed},
}};

constexpr bool InOrder() {
  for (std::size_t i = 0; i < kTargets.size(); ++i) {
    if (static_cast<std::size_t>(kTargets[i].target) != i) return false;
  }
  return true;
}
static_assert(InOrder(), "a row's place is its target");

struct ProtectionRow {
  PinVerdict to_read;
  PinVerdict forced_private;
  PinVerdict forced_shared;
  PinVerdict to_write;
};

// By readable + 2 * writable.
constexpr std::array<ProtectionRow, 4> kProtections{{
    {kNotReadable, kAllowed, kSharedReadOnly, kNotWritable},
    {kAllowed, kAllowed, kSharedReadOnly, kNotWritable},
    {kNotReadable, kAllowed, kAllowed, kAllowed},
    {kAllowed, kAllowed, kAllowed, kAllowed},
}};

PinDecision DecideProtection(const PinCase& pin, Trait reads_force_writes) {
  const std::size_t readable = (pin.protection & PROT_READ) != 0 ? 1 : 0;
  const std::size_t writable = (pin.protection & PROT_WRITE) != 0 ? 1 : 0;
  const ProtectionRow& row = kProtections[readable + 2 * writable];
  if (pin.writes) return {row.to_write, true};
  const PinVerdict forced = pin.shared ? row.forced_shared : row.forced_private;
  if (forced == row.to_read) return {forced, true};
  const bool forces = reads_force_writes == Trait::kYes;
  return {forces ? forced : row.to_read, reads_force_writes != Trait::kUnknown};
}

PinDecision DecideOnDemand(const PinCase& pin, PinVerdict by_target) {
  if (by_target != kAllowed) return {by_target, by_target != kUnclear};
  // The device's faults are as any other: nothing is forced.
  const PinDecision protection = DecideProtection(pin, Trait::kNo);
  return {protection.verdict == kAllowed ? kAllowed : kFaultsLater, true};
}

PinDecision DecidePinned(const PinCase& pin, const KernelTraits& traits, PinVerdict by_target) {
  if (IsRefusal(by_target) && by_target != kWritesUnheard) return {by_target, true};
  const PinDecision protection = DecideProtection(pin, traits.reads_force_writes);
  if (protection.verdict != kAllowed || !protection.certain) return protection;
  if (by_target != kWritesUnheard) return {by_target, by_target != kUnclear};
  const bool pins = traits.pins_files_for_writing == Trait::kYes;
  return {pins ? kNeedsGuard : kWritesUnheard, traits.pins_files_for_writing != Trait::kUnknown};
}

}  // namespace

absl::StatusCode CodeOf(PinVerdict verdict) {
  if (!IsRefusal(verdict)) return absl::StatusCode::kOk;
  return verdict == kFsDax ? absl::StatusCode::kUnimplemented
                           : absl::StatusCode::kFailedPrecondition;
}

PinDecision Decide(const PinCase& pin, const KernelTraits& traits) {
  const Row& row = kTargets[static_cast<std::size_t>(pin.target)];
  switch (pin.kind) {
    case PinKind::kFrameOnly:
      return {row.frames_only, true};
    case PinKind::kOnDemand:
      return DecideOnDemand(pin, row.on_demand);
    case PinKind::kTransient:
    case PinKind::kLongterm:
      break;
  }
  return DecidePinned(pin, traits, pin.writes ? row.pinned_to_write : row.pinned_to_read);
}

}  // namespace linchpin
