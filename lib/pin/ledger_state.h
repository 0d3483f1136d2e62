// Ledger::State: what a ledger is in its own process: the memory that others see, and in private
// memory all that must be true.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/mutex.h"
#include "lib/pin/ledger.h"
#include "lib/pin/ledger_files.h"
#include "lib/pin/ledger_memory.h"
#include "lib/pin/ledger_table.h"

namespace linchpin::internal {

class Ledger::State final {
 public:
  // Entries carry a part of `cookie`, so that what a forked child inherited means nothing in the
  // child's own ledger.
  explicit State(std::uint64_t cookie) : tag_(static_cast<std::uint32_t>(cookie) << kNumberBits) {}

  // As Ledger's.
  LedgerEntry Add(const LedgerPin& pin);
  void SetLeases(LedgerEntry entry, std::uint64_t leases);
  void Remove(LedgerEntry entry);
  LedgerEntry AddCache(std::string_view device);
  bool Wanted(LedgerEntry entry) const;
  void Publish(LedgerEntry entry, const CacheStats& stats);
  void RemoveCache(LedgerEntry entry);

 private:
  static constexpr std::uint32_t kNumberBits = 16;
  static_assert(kLedgerPins < 1U << kNumberBits && kLedgerCaches < 1U << kNumberBits);

  struct Pin {  // Valid for each record ever used.
    std::uint64_t leases;
    std::uint32_t file;  // In files_.
    bool listed;
  };
  struct Cache {
    LedgerCacheRecord record{};              // As it was written last. Under mutex_.
    std::atomic<bool> listed{false};         // Written under mutex_.
    std::atomic<std::uint32_t> answered{0};  // What `wanted` was then. Written under mutex_.
  };

  // Returns: the number of `entry`; 0 if it is none of this process or out of range.
  std::uint32_t NumberOf(LedgerEntry entry, std::uint32_t most) const;

  // Returns: what is known of the pin; null if there is none such.
  Pin* PinOf(LedgerEntry entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Adds `record`, whose file has `path`: null if it has not been looked up.
  // Returns: 0 if there is no room; nothing if the path is needed.
  std::optional<LedgerEntry> TryAdd(LedgerPinRecord& record, const std::string* path)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sees to it, once a second, that the ledger is seen. Returns: the errno of why it is not, the
  // first time; otherwise 0.
  int SeeToMemory(std::uint64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CountUnlisted(const LedgerPinRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::uint32_t WantedNow(std::uint32_t number) const;

  const std::uint32_t tag_;
  // Protects every write to the ledger and what follows. Nothing under it takes long, but for a
  // system call where the ledger grows and those that make its memfd.
  Mutex mutex_;
  LedgerMemory memory_;  // Its base may be read without the mutex.
  std::uint64_t next_try_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  bool complained_ ABSL_GUARDED_BY(mutex_) = false;
  LedgerPins pin_table_ ABSL_GUARDED_BY(mutex_);
  LedgerCaches cache_table_ ABSL_GUARDED_BY(mutex_);
  LedgerFiles files_ ABSL_GUARDED_BY(mutex_);
  // Untouched until used, as the ledger itself.
  const std::unique_ptr<Pin[]> pins_ ABSL_GUARDED_BY(mutex_) =
      std::make_unique_for_overwrite<Pin[]>(kLedgerPins);
  std::array<Cache, kLedgerCaches> caches_;
  std::uint64_t unlisted_pins_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t unlisted_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::uint64_t unlisted_caches_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace linchpin::internal
