// What lies where in a ledger: a header, and three tables of fixed-size records. A reader of
// another version says so, because magic and version never move.
//
// Writing: the sequence becomes odd, the record changes, the sequence becomes even. Reading: the
// sequence, the record, the sequence again; odd or different is torn. The checksum finds what a
// third process has written over, and is no proof against one that means it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string_view>
#include <tuple>
#include <type_traits>

#include "linchpin/cache.h"

namespace linchpin::internal {

inline constexpr const char* kLedgerName = "linchpin-pins";
inline constexpr std::uint64_t kLedgerMagic = 0x736e'6970'2d6e'696c;  // "lin-pins", little-endian.
inline constexpr std::uint32_t kLedgerVersion = 3;

inline constexpr int kStartTimeField = 22;  // Of /proc/PID/stat: LedgerHeader::start_time.

inline constexpr std::uint32_t kLedgerPins = 16'384;
inline constexpr std::uint32_t kLedgerFiles = 1'024;
inline constexpr std::uint32_t kLedgerCaches = 64;

// The text of a record: ends at the first 0, or fills its field.
template <std::size_t bytes>
using LedgerText = std::array<char, bytes>;

// Nanoseconds of the clock of all times in a ledger, CLOCK_MONOTONIC, or of a rougher one like it.
inline std::uint64_t LedgerNowNs(clockid_t clock = CLOCK_MONOTONIC) {
  constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// What every record begins with. All of a record but the sequence is under the checksum, with the
// sequence added in.
struct LedgerSeal {
  std::uint32_t sequence;
  std::uint32_t in_use;  // 0 or 1.
  std::uint64_t checksum;
};

// Sizes and numbers are those of the tables. The last lines are hints of how far to look, and what
// found no room.
struct LedgerHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t header_bytes;
  std::uint32_t pid;  // As the process sees itself, in its own namespace.
  std::uint32_t unused;
  std::uint64_t start_time;  // In ticks since boot, as in /proc/PID/stat.
  std::uint32_t pin_bytes, pins;
  std::uint32_t file_bytes, files;
  std::uint32_t cache_bytes, caches;
  std::uint32_t pins_used, files_used, caches_used;  // Records ever used, from the first.
  std::uint32_t unused_too;
  std::uint64_t unlisted_pins, unlisted_bytes, unlisted_caches;  // Found no room, ever.
};

// Times are of CLOCK_MONOTONIC, in nanoseconds.
struct LedgerPinRecord {
  LedgerSeal seal{};
  std::uint64_t start = 0, end = 0;
  std::uint64_t file_device = 0, file_inode = 0;
  std::uint64_t owner = 0;
  std::uint64_t leases = 0;
  std::uint64_t pinned_at_ns = 0;
  std::uint32_t rights = 0, kind = 0;
  std::uint32_t runs = 0;
  std::uint32_t file = 0;  // Its place in the table of files, from 1; 0: has none.
  LedgerText<40> device{};
  LedgerText<64> owner_name{};
};

struct LedgerFileRecord {
  LedgerSeal seal{};
  std::uint64_t device = 0, inode = 0;
  LedgerText<992> path{};
};

inline constexpr std::size_t kLedgerCounters = sizeof(CacheStats) / sizeof(std::uint64_t);

struct LedgerCacheRecord {
  LedgerSeal seal{};
  std::uint64_t created_at_ns = 0;
  std::uint64_t published_at_ns = 0;         // 0: never.
  std::array<std::uint64_t, 32> counters{};  // CacheStats, field by field.
  LedgerText<64> device{};
  // Behind what the checksum covers, because readers write it: one more for each time that they
  // want fresh counters.
  std::uint32_t wanted = 0;
  std::uint32_t unused = 0;
};

// The names of CacheStats' fields, in their order, as docs/stats.md has them.
inline constexpr std::array kLedgerCounterNames{
    "hits",          "locked_hits",     "misses",
    "registrations", "deregistrations", "invalidations",
    "evictions",     "retries",         "failures",
    "regions",       "bytes",           "idle_bytes",
    "held_bytes",    "deferred_bytes",  "leases",
    "stale_regions", "stale_bytes",     "leaked",
    "revocations",   "unwatched",       "reap_lag_us_max",
    "audits",        "audit_findings",  "unaudited"};
static_assert(kLedgerCounterNames.size() == kLedgerCounters,
              "CacheStats has other fields: change the names, and kLedgerVersion");
static_assert(kLedgerCounters <= std::tuple_size_v<decltype(LedgerCacheRecord::counters)>);

inline constexpr std::size_t kLedgerHeaderBytes = 4096;
inline constexpr std::size_t kLedgerPinsAt = kLedgerHeaderBytes;
inline constexpr std::size_t kLedgerFilesAt = kLedgerPinsAt + sizeof(LedgerPinRecord) * kLedgerPins;
inline constexpr std::size_t kLedgerCachesAt =
    kLedgerFilesAt + sizeof(LedgerFileRecord) * kLedgerFiles;
inline constexpr std::size_t kLedgerBytes =
    (kLedgerCachesAt + sizeof(LedgerCacheRecord) * kLedgerCaches + 4095) / 4096 * 4096;

static_assert(sizeof(LedgerHeader) <= kLedgerHeaderBytes);
static_assert(sizeof(LedgerPinRecord) == 192 && sizeof(LedgerFileRecord) == 1024 &&
              sizeof(LedgerCacheRecord) == 360);

// How much of a record is under its checksum, in bytes.
template <typename Record>
constexpr std::size_t LedgerSummedBytes() {
  if constexpr (std::is_same_v<Record, LedgerCacheRecord>) {
    return offsetof(LedgerCacheRecord, wanted);
  } else {
    return sizeof(Record);
  }
}

// Each word counts by its place, so that one word's part can be changed without the others.
constexpr std::uint64_t LedgerWeight(std::size_t word) {
  return (2 * word + 1) * 0x9e37'79b9'7f4a'7c15;
}

// Returns: the checksum that belongs to `record` with the sequence in it.
template <typename Record>
std::uint64_t LedgerChecksum(const Record& record) {
  static_assert(std::is_trivially_copyable_v<Record> && sizeof(Record) % 8 == 0);
  constexpr std::size_t kWords = LedgerSummedBytes<Record>() / sizeof(std::uint64_t);
  std::array<std::uint64_t, kWords> words{};
  std::memcpy(words.data(), &record, sizeof(words));
  std::uint64_t sum =
      kLedgerMagic + record.seal.sequence * LedgerWeight(0) + record.seal.in_use * LedgerWeight(1);
  for (std::size_t i = sizeof(LedgerSeal) / 8; i < kWords; ++i) sum += words[i] * LedgerWeight(i);
  return sum;
}

template <std::size_t bytes>
void SetLedgerText(LedgerText<bytes>& field, std::string_view text) {
  const std::size_t length = text.copy(field.data(), bytes);
  std::memset(field.data() + length, 0, bytes - length);
}

template <std::size_t bytes>
std::string_view LedgerTextOf(const LedgerText<bytes>& field) {
  const std::string_view all(field.data(), bytes);
  return all.substr(0, all.find('\0'));
}

}  // namespace linchpin::internal
