// Ledger: what this process has pinned, for anyone who may look: a memfd named "linchpin-pins" that
// `linchpin pins` and `linchpin stat` read through /proc/PID/fd.
//
// Nothing in it is ever read back to decide anything: any process of the same user can write to it.
// Which entries are free, and each sequence count, are kept in private memory.
//
// Thread-safety: all calls may be made at once from any threads, with no lock held that the
// monitor's reader takes. None of them fails or waits for a reader: what cannot be listed is
// counted. In a forked child the ledger of the parent is left alone, and the child's own begins.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "linchpin/access.h"
#include "linchpin/cache.h"
#include "linchpin/pin.h"
#include "linchpin/range.h"

namespace linchpin::internal {

// An entry of a table in the ledger; 0 for none.
using LedgerEntry = std::uint32_t;

struct LedgerPin {
  Range range;
  PinKind kind = PinKind::kLongterm;
  Access rights = Access::kLocalRead;
  std::string_view device;  // The registrar's name. Cut to what there is room for, as all text is.
  // The file behind the memory, as st_dev and st_ino; 0, 0 for none. Its path is looked up once.
  std::uint64_t file_device = 0;
  std::uint64_t file_inode = 0;
  std::uint64_t owner = 0;  // PinFile::id(), or 0.
  std::string_view owner_name;
  std::uint32_t runs = 0;  // Physically contiguous runs; 0 if not known.
};

class Ledger final {
 public:
  // The process's own, made on the first call. Never null; where the kernel gives no memfd, or no
  // descriptor is left, nothing is listed.
  static Ledger& OfProcess();

  // Returns: the entry; 0 if there is no room, which is counted.
  LedgerEntry Add(const LedgerPin& pin) noexcept;
  void SetLeases(LedgerEntry entry, std::uint64_t leases) noexcept;  // 0: nothing happens.
  void Remove(LedgerEntry entry) noexcept;                           // The same.

  // The counters of a cache. A reader that wants them fresh says so in the ledger.
  LedgerEntry AddCache(std::string_view device) noexcept;
  bool Wanted(LedgerEntry cache) const noexcept;  // Since the last Publish. Two memory reads.
  void Publish(LedgerEntry cache, const CacheStats& stats) noexcept;
  void RemoveCache(LedgerEntry cache) noexcept;

  Ledger();  // For OfProcess().
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  ~Ledger();

 private:
  class State;

  // Null in a forked child, in which the state's mutex may be locked for ever.
  State* Mine() const noexcept;

  const std::uint64_t cookie_;
  const std::unique_ptr<State> state_;
};

}  // namespace linchpin::internal
