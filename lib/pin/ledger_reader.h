// LedgerReader: reads the ledger of another process, or of this one, and believes nothing in it:
// any process of the same user can write there. What is returned is in bounds, but may be invented.
// Texts are bytes of any kind: escape them before they are shown.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "lib/base/fd.h"
#include "linchpin/access.h"
#include "linchpin/cache.h"
#include "linchpin/pin.h"
#include "linchpin/range.h"

namespace linchpin::internal {

// Times are of CLOCK_MONOTONIC, in nanoseconds.
struct ListedPin {
  Range range;  // Never empty.
  PinKind kind = PinKind::kLongterm;
  Access rights = Access::kLocalRead;  // Known bits only.
  std::string device;
  std::uint64_t file_device = 0;  // 0, 0 if there is no file.
  std::uint64_t file_inode = 0;
  std::string file;  // As in /proc/PID/maps; empty if nobody knows.
  std::uint64_t owner = 0;
  std::string owner_name;
  std::uint64_t leases = 0;
  std::uint32_t runs = 0;
  std::uint64_t pinned_at_ns = 0;
};

struct ListedCache {
  std::uint32_t id = 0;  // Unlike any other in the process now; used again when the cache is gone.
  std::string device;
  std::uint64_t created_at_ns = 0;
  std::uint64_t published_at_ns = 0;  // 0: never.
  CacheStats stats;
};

struct LedgerContents {
  std::vector<ListedPin> pins;
  std::vector<ListedCache> caches;
  // What the process could not list, since it began.
  std::uint64_t unlisted_pins = 0, unlisted_bytes = 0, unlisted_caches = 0;
  std::uint64_t busy = 0;     // Records that were being written, however often looked at.
  std::uint64_t damaged = 0;  // Records that somebody has written over.
};

class LedgerReader final {
 public:
  // Returns: the reader of all ledgers that process `pid` says are its own (it has several when it
  // loaded the library twice; 8 at most are read); otherwise
  //   NotFound            there is no such process
  //   PermissionDenied    its descriptors may not be looked at
  //   FailedPrecondition  it has no ledger
  //   Unimplemented       its ledger is of another version than this reader
  //   DataLoss            its ledger has been written over
  static absl::StatusOr<LedgerReader> Open(pid_t pid);

  LedgerContents Read() const;
  std::vector<ListedCache> ReadCaches() const;

  // Asks each cache to publish its counters and its leases. Returns: whether the process can be
  // asked: not when its ledger may only be read.
  bool Want() const;

  // The state of the process, as in /proc/PID/stat: 'R', 'S', 'T', ...; 0 when it is gone.
  char ProcessState() const;

 private:
  LedgerReader(Fd process, std::vector<Fd> ledgers)
      : process_(std::move(process)), ledgers_(std::move(ledgers)) {}

  Fd process_;  // /proc/PID: stays what it is, whoever has that number later.
  std::vector<Fd> ledgers_;
};

}  // namespace linchpin::internal
