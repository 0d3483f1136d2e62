// LedgerTable: which records of one of the ledger's tables are free, and how a record is written.
// Both only from private memory: what is in the ledger may come from anyone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "lib/pin/ledger_format.h"
#include "lib/pin/ledger_memory.h"

namespace linchpin::internal {

// Records have numbers from 1; 0 is none. Free records, of those ever used, are a stack.
//
// Not thread-safe.
template <typename Record, std::uint32_t capacity, std::size_t table_offset>
class LedgerTable final {
 public:
  // Returns: a record that is free, and now is not; 0 when there is none or no memory for it.
  // Requires: the memory has a base, here and everywhere. `used` is the header's.
  std::uint32_t Take(const LedgerMemory& memory, std::uint32_t LedgerHeader::*used) {
    if (free_ != 0) {
      const std::uint32_t number = free_;
      free_ = slots_[number - 1].next_free;
      return number;
    }
    if (used_ == capacity || !Grow(memory)) return 0;
    slots_[used_] = Slot{};
    memory.header().*used = ++used_;
    return used_;
  }

  // Makes `record` what readers see as record `number`.
  void Write(const LedgerMemory& memory, std::uint32_t number, Record& record) {
    Slot& slot = slots_[number - 1];
    record.seal.in_use = 1;
    record.seal.sequence = 0;
    slot.sum = LedgerChecksum(record);
    Change(memory, number, [&](Record& shared) {
      constexpr std::size_t kBody = sizeof(LedgerSeal);
      std::memcpy(reinterpret_cast<std::byte*>(&shared) + kBody,
                  reinterpret_cast<const std::byte*>(&record) + kBody,
                  LedgerSummedBytes<Record>() - kBody);
      shared.seal.in_use = 1;
    });
  }

  // Changes the word at `offset` bytes in the record, as it was written, from `from` to `to`.
  template <std::size_t offset>
  void WriteWord(const LedgerMemory& memory, std::uint32_t number, std::uint64_t from,
                 std::uint64_t to) {
    static_assert(offset % 8 == 0 && offset >= sizeof(LedgerSeal));
    slots_[number - 1].sum += (to - from) * LedgerWeight(offset / 8);
    Change(memory, number, [&](Record& shared) {
      std::memcpy(reinterpret_cast<std::byte*>(&shared) + offset, &to, sizeof(to));
    });
  }

  void Give(const LedgerMemory& memory, std::uint32_t number) {
    Change(memory, number, [](Record& shared) { shared.seal.in_use = 0; });
    slots_[number - 1].next_free = free_;
    free_ = number;
  }

  std::uint32_t used() const { return used_; }  // Records ever used.

  static Record& At(const LedgerMemory& memory, std::uint32_t number) {
    return *reinterpret_cast<Record*>(memory.base() + OffsetOf(number));
  }

 private:
  struct Slot {               // Untouched until used.
    std::uint32_t sequence;   // Even, the one last written.
    std::uint32_t next_free;  // While it is free.
    std::uint64_t sum;        // The checksum as it would be with a sequence of 0.
  };

  // Returns: whether there is memory for one record more.
  bool Grow(const LedgerMemory& memory) {
    constexpr std::uint32_t kAtOnce = 16'384 / sizeof(Record);
    if (used_ < backed_ && backed_in_ == memory.base()) return true;
    const std::uint32_t more = std::min(kAtOnce, capacity - used_);
    if (!memory.Back(OffsetOf(used_ + 1), more * sizeof(Record))) return false;
    backed_ = used_ + more;
    backed_in_ = memory.base();
    return true;
  }

  static constexpr std::size_t OffsetOf(std::uint32_t number) {
    return table_offset + (number - 1) * sizeof(Record);
  }

  // Calls `change` with the record, which readers take for torn meanwhile.
  template <typename Body>
  void Change(const LedgerMemory& memory, std::uint32_t number, const Body& change) {
    Slot& slot = slots_[number - 1];
    Record& shared = At(memory, number);
    std::atomic_ref<std::uint32_t> sequence(shared.seal.sequence);
    // Pairs with the reader's system calls: acquire keeps the changes behind the odd sequence,
    // release keeps them before the even one.
    sequence.exchange(slot.sequence + 1, std::memory_order_acq_rel);
    slot.sequence += 2;
    change(shared);
    shared.seal.checksum = slot.sum + slot.sequence * LedgerWeight(0);
    sequence.store(slot.sequence, std::memory_order_release);
  }

  const std::unique_ptr<Slot[]> slots_ = std::make_unique_for_overwrite<Slot[]>(capacity);
  std::uint32_t used_ = 0;
  std::uint32_t backed_ = 0;              // Records that there is memory for,
  const std::byte* backed_in_ = nullptr;  // when the ledger was here.
  std::uint32_t free_ = 0;
};

using LedgerPins = LedgerTable<LedgerPinRecord, kLedgerPins, kLedgerPinsAt>;
using LedgerCaches = LedgerTable<LedgerCacheRecord, kLedgerCaches, kLedgerCachesAt>;

}  // namespace linchpin::internal
