#include "lib/pin/ledger_state.h"

#include <cstring>
#include <exception>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/memory/procmap.h"

namespace linchpin::internal {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

// A few milliseconds do not matter to the age of a pin, and this is the cheaper clock.
std::uint64_t RoughNowNs() {
  return LedgerNowNs(CLOCK_MONOTONIC_COARSE);
}

LedgerPinRecord RecordOf(const LedgerPin& pin) {
  LedgerPinRecord record{.start = pin.range.start,
                         .end = pin.range.end,
                         .file_device = pin.file_device,
                         .file_inode = pin.file_inode,
                         .owner = pin.owner,
                         .pinned_at_ns = RoughNowNs(),
                         .rights = static_cast<std::uint32_t>(pin.rights),
                         .kind = static_cast<std::uint32_t>(pin.kind),
                         .runs = pin.runs};
  SetLedgerText(record.device, pin.device);
  SetLedgerText(record.owner_name, pin.owner_name);
  return record;
}

// Returns: the path of the file at `start`, empty if another file is there by now, or nobody knows.
// Allocates: when there is no memory for that, there is no path.
std::string PathAt(std::uintptr_t start, LedgerFiles::Id id) {
  try {
    const absl::StatusOr<Mapping> mapping = LookUpMapping(start);
    const bool same = mapping.ok() && LedgerFiles::Id{mapping->device, mapping->inode} == id;
    return same ? mapping->name : std::string();
  } catch (const std::exception&) {
    return {};
  }
}

void Complain(int error) {
  if (error == 0) return;
  Log(absl::StrCat("what is pinned is not shown to other processes: ", ErrnoText(error),
                   "; it will be, as soon as a memfd and a descriptor can be had"));
}

}  // namespace

std::uint32_t Ledger::State::NumberOf(LedgerEntry entry, std::uint32_t most) const {
  constexpr std::uint32_t kNumbers = (1U << kNumberBits) - 1;
  const std::uint32_t number = entry & kNumbers;
  return (entry & ~kNumbers) == tag_ && number <= most ? number : 0;
}

int Ledger::State::SeeToMemory(std::uint64_t now_ns) {
  if (memory_.seen() || now_ns < next_try_ns_) return 0;
  next_try_ns_ = now_ns + kNsPerSecond;
  const int error = memory_.TryToBeSeen();
  if (error == 0 || complained_) return 0;
  complained_ = true;
  return error;
}

LedgerEntry Ledger::State::Add(const LedgerPin& pin) {
  LedgerPinRecord record = RecordOf(pin);
  int error = 0;
  std::optional<LedgerEntry> entry;
  {
    const MutexLock lock(mutex_);
    error = SeeToMemory(record.pinned_at_ns);
    entry = TryAdd(record, nullptr);
  }
  Complain(error);
  if (!entry) {
    const std::string path = PathAt(pin.range.start, {pin.file_device, pin.file_inode});
    const MutexLock lock(mutex_);
    entry = TryAdd(record, &path);
  }
  return entry.value_or(0);
}

std::optional<LedgerEntry> Ledger::State::TryAdd(LedgerPinRecord& record, const std::string* path) {
  if (memory_.base() == nullptr) {
    CountUnlisted(record);
    return 0;
  }
  const LedgerFiles::Id id{record.file_device, record.file_inode};
  if (id != LedgerFiles::Id{}) {
    record.file = files_.Find(id, record.pinned_at_ns);
    if (record.file == 0 && path == nullptr) return std::nullopt;
    if (record.file == 0) record.file = files_.Put(memory_, id, *path, record.pinned_at_ns);
  }
  const std::uint32_t number = pin_table_.Take(memory_, &LedgerHeader::pins_used);
  if (number == 0) {
    files_.Drop(record.file);
    CountUnlisted(record);
    return 0;
  }
  pin_table_.Write(memory_, number, record);
  pins_[number - 1] = {.leases = 0, .file = record.file, .listed = true};
  return tag_ | number;
}

Ledger::State::Pin* Ledger::State::PinOf(LedgerEntry entry) {
  const std::uint32_t number = NumberOf(entry, pin_table_.used());
  return number != 0 && pins_[number - 1].listed ? &pins_[number - 1] : nullptr;
}

void Ledger::State::CountUnlisted(const LedgerPinRecord& record) {
  ++unlisted_pins_;
  unlisted_bytes_ += record.end - record.start;
  if (memory_.base() == nullptr) return;
  memory_.header().unlisted_pins = unlisted_pins_;
  memory_.header().unlisted_bytes = unlisted_bytes_;
}

void Ledger::State::SetLeases(LedgerEntry entry, std::uint64_t leases) {
  const MutexLock lock(mutex_);
  Pin* const pin = PinOf(entry);
  if (pin == nullptr || pin->leases == leases) return;
  pin_table_.WriteWord<offsetof(LedgerPinRecord, leases)>(memory_, NumberOf(entry, kLedgerPins),
                                                          pin->leases, leases);
  pin->leases = leases;
}

void Ledger::State::Remove(LedgerEntry entry) {
  const MutexLock lock(mutex_);
  Pin* const pin = PinOf(entry);
  if (pin == nullptr) return;
  pin_table_.Give(memory_, NumberOf(entry, kLedgerPins));
  files_.Drop(pin->file);
  pin->listed = false;
}

LedgerEntry Ledger::State::AddCache(std::string_view device) {
  int error = 0;
  LedgerEntry entry = 0;
  {
    const MutexLock lock(mutex_);
    error = SeeToMemory(RoughNowNs());
    const bool has_memory = memory_.base() != nullptr;
    const std::uint32_t number =
        has_memory ? cache_table_.Take(memory_, &LedgerHeader::caches_used) : 0;
    if (number != 0) {
      Cache& cache = caches_[number - 1];
      cache.record = {.created_at_ns = LedgerNowNs()};
      SetLedgerText(cache.record.device, device);
      cache_table_.Write(memory_, number, cache.record);
      cache.answered.store(WantedNow(number), std::memory_order_relaxed);
      cache.listed.store(true, std::memory_order_release);
      entry = tag_ | number;
    } else {
      ++unlisted_caches_;
      if (has_memory) memory_.header().unlisted_caches = unlisted_caches_;
    }
  }
  Complain(error);
  return entry;
}

std::uint32_t Ledger::State::WantedNow(std::uint32_t number) const {
  // Another process adds to it: nothing else depends on it, so it needs no order.
  return std::atomic_ref(LedgerCaches::At(memory_, number).wanted).load(std::memory_order_relaxed);
}

bool Ledger::State::Wanted(LedgerEntry entry) const {
  const std::uint32_t number = NumberOf(entry, kLedgerCaches);
  if (number == 0) return false;
  const Cache& cache = caches_[number - 1];
  return cache.listed.load(std::memory_order_acquire) &&
         cache.answered.load(std::memory_order_relaxed) != WantedNow(number);
}

void Ledger::State::Publish(LedgerEntry entry, const CacheStats& stats) {
  const std::uint32_t number = NumberOf(entry, kLedgerCaches);
  if (number == 0) return;
  int error = 0;
  {
    const MutexLock lock(mutex_);
    Cache& cache = caches_[number - 1];
    if (!cache.listed.load(std::memory_order_relaxed)) return;
    error = SeeToMemory(RoughNowNs());
    cache.answered.store(WantedNow(number), std::memory_order_relaxed);
    std::memcpy(cache.record.counters.data(), &stats, sizeof(stats));
    cache.record.published_at_ns = LedgerNowNs();
    cache_table_.Write(memory_, number, cache.record);
  }
  Complain(error);
}

void Ledger::State::RemoveCache(LedgerEntry entry) {
  const std::uint32_t number = NumberOf(entry, kLedgerCaches);
  if (number == 0) return;
  const MutexLock lock(mutex_);
  Cache& cache = caches_[number - 1];
  if (!cache.listed.load(std::memory_order_relaxed)) return;
  cache.listed.store(false, std::memory_order_release);
  cache_table_.Give(memory_, number);
}

}  // namespace linchpin::internal
