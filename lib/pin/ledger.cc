#include "lib/pin/ledger.h"

#include "lib/base/of_process.h"
#include "lib/base/process.h"
#include "lib/pin/ledger_state.h"

namespace linchpin::internal {
namespace {

constinit linchpin::OfProcess<Ledger> own_ledger;

}  // namespace

Ledger::Ledger() : cookie_(ProcessCookie()), state_(std::make_unique<State>(cookie_)) {}

Ledger::~Ledger() = default;

Ledger& Ledger::OfProcess() {
  return own_ledger.Get();
}

Ledger::State* Ledger::Mine() const noexcept {
  return cookie_ == ProcessCookie() ? state_.get() : nullptr;
}

LedgerEntry Ledger::Add(const LedgerPin& pin) noexcept {
  State* const state = Mine();
  return state == nullptr ? 0 : state->Add(pin);
}

void Ledger::SetLeases(LedgerEntry entry, std::uint64_t leases) noexcept {
  if (entry == 0) return;
  if (State* const state = Mine(); state != nullptr) state->SetLeases(entry, leases);
}

void Ledger::Remove(LedgerEntry entry) noexcept {
  if (entry == 0) return;
  if (State* const state = Mine(); state != nullptr) state->Remove(entry);
}

LedgerEntry Ledger::AddCache(std::string_view device) noexcept {
  State* const state = Mine();
  return state == nullptr ? 0 : state->AddCache(device);
}

bool Ledger::Wanted(LedgerEntry cache) const noexcept {
  const State* const state = cache == 0 ? nullptr : Mine();
  return state != nullptr && state->Wanted(cache);
}

void Ledger::Publish(LedgerEntry cache, const CacheStats& stats) noexcept {
  if (cache == 0) return;
  if (State* const state = Mine(); state != nullptr) state->Publish(cache, stats);
}

void Ledger::RemoveCache(LedgerEntry cache) noexcept {
  if (cache == 0) return;
  if (State* const state = Mine(); state != nullptr) state->RemoveCache(cache);
}

}  // namespace linchpin::internal
