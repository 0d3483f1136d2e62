// Reads records of a ledger by the rule of its sequences (see ledger_format.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "lib/pin/ledger_format.h"

namespace linchpin::internal {

// How many records were not handed out.
struct LedgerLosses {
  std::uint64_t busy = 0;
  std::uint64_t damaged = 0;
};

// Reads `bytes` of the file at `offset` into `to`. Returns: whether there were that many.
bool ReadLedgerBytes(int fd, std::size_t offset, void* to, std::size_t bytes);

template <typename Record>
using LedgerVisitor = std::function<void(std::uint32_t number, const Record& record)>;

// Calls `visit` with the number, from 1, and the contents of each of the first `count` records of
// the table that are in use, whole, and under their checksum.
template <typename Record>
LedgerLosses VisitLedgerRecords(int fd, std::size_t table_offset, std::uint32_t count,
                                const LedgerVisitor<Record>& visit);

// Instantiated for these: LedgerPinRecord, LedgerFileRecord, LedgerCacheRecord.

}  // namespace linchpin::internal
