#include "lib/pin/ledger_records.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

namespace linchpin::internal {
namespace {

constexpr std::uint32_t kRecordsAtOnce = 256;
// A record is written for less than a microsecond: one that stays torn belongs to a process that
// was stopped in between, or to somebody who means it, and then there may be many.
constexpr int kTriesOfOne = 16;
constexpr int kTriesInAll = 1024;
constexpr std::chrono::microseconds kBetweenTries{20};

// Some records as three looks found them: only the middle one's contents count, and the others'
// sequences say whether anybody wrote meanwhile.
template <typename Record>
class Looks final {
 public:
  explicit Looks(std::uint32_t count) : before_(count), records_(count), after_(count) {}

  // Returns: whether there was something to see.
  bool Look(int fd, std::size_t offset, std::uint32_t count) {
    const std::size_t bytes = count * sizeof(Record);
    return ReadLedgerBytes(fd, offset, before_.data(), bytes) &&
           ReadLedgerBytes(fd, offset, records_.data(), bytes) &&
           ReadLedgerBytes(fd, offset, after_.data(), bytes);
  }

  bool IsWhole(std::uint32_t i) const {
    const std::uint32_t sequence = records_[i].seal.sequence;
    return sequence % 2 == 0 && before_[i].seal.sequence == sequence &&
           after_[i].seal.sequence == sequence;
  }

  const Record& operator[](std::uint32_t i) const { return records_[i]; }

 private:
  std::vector<Record> before_, records_, after_;
};

template <typename Record>
bool LookAgain(int fd, std::size_t offset, Looks<Record>& one, int& tries_left) {
  for (int i = 0; i < kTriesOfOne && tries_left > 0; ++i, --tries_left) {
    if (one.Look(fd, offset, 1) && one.IsWhole(0)) return true;
    std::this_thread::sleep_for(kBetweenTries);
  }
  return false;
}

}  // namespace

bool ReadLedgerBytes(int fd, std::size_t offset, void* to, std::size_t bytes) {
  return pread(fd, to, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}

template <typename Record>
LedgerLosses VisitLedgerRecords(int fd, std::size_t table_offset, std::uint32_t count,
                                const LedgerVisitor<Record>& visit) {
  LedgerLosses losses;
  Looks<Record> many(std::min(count, kRecordsAtOnce));
  Looks<Record> one(1);
  int tries_left = kTriesInAll;
  for (std::uint32_t first = 0; first < count; first += kRecordsAtOnce) {
    const std::uint32_t here = std::min(kRecordsAtOnce, count - first);
    const std::size_t offset = table_offset + first * sizeof(Record);
    if (!many.Look(fd, offset, here)) {
      losses.damaged += here;
      continue;
    }
    for (std::uint32_t i = 0; i < here; ++i) {
      const bool whole = many.IsWhole(i);
      if (!whole && !LookAgain(fd, offset + i * sizeof(Record), one, tries_left)) {
        ++losses.busy;
        continue;
      }
      const Record& record = whole ? many[i] : one[0];
      if (record.seal.in_use == 0) continue;
      if (record.seal.in_use == 1 && record.seal.checksum == LedgerChecksum(record)) {
        visit(first + i + 1, record);
      } else {
        ++losses.damaged;
      }
    }
  }
  return losses;
}

template LedgerLosses VisitLedgerRecords(int, std::size_t, std::uint32_t,
                                         const LedgerVisitor<LedgerPinRecord>&);
template LedgerLosses VisitLedgerRecords(int, std::size_t, std::uint32_t,
                                         const LedgerVisitor<LedgerFileRecord>&);
template LedgerLosses VisitLedgerRecords(int, std::size_t, std::uint32_t,
                                         const LedgerVisitor<LedgerCacheRecord>&);

}  // namespace linchpin::internal
