// PinFileCore: bringing to the file what a device has written to its pages.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/base_page.h"
#include "lib/base/error.h"
#include "lib/pin/backing_guard.h"
#include "lib/pin/pin_file_core.h"

namespace linchpin::internal {
namespace {

Range WholePages(Range range) {
  const std::uintptr_t page = BasePageSize();
  return {range.start & ~(page - 1), (range.end + page - 1) & ~(page - 1)};
}

std::string Names(const std::vector<Range>& ranges) {
  constexpr std::size_t kNamed = 4;
  std::string names;
  for (std::size_t i = 0; i < std::min(kNamed, ranges.size()); ++i) {
    absl::StrAppend(&names, i == 0 ? "" : ", ", ranges[i].ToString());
  }
  if (ranges.size() > kNamed) absl::StrAppend(&names, ", ", ranges.size() - kNamed, " more");
  return names;
}

}  // namespace

absl::Status PinFileCore::Sync() {
  if (!IsOurs()) return InChild();
  std::vector<Range> held;
  ForEachClient(Told::kNothing,
                [this, &held](PinFileClient& client) { client.OnSync(*this, held); });
  DirtyRanges dirty;
  {
    const MutexLock lock(mutex_);
    dirty = std::exchange(unsynced_, DirtyRanges());
  }
  // What can be written is, even if something is held.
  absl::Status written = WriteOut(dirty);
  if (!written.ok() || held.empty()) return written;
  return absl::FailedPreconditionError(absl::StrCat("dirty ranges of ", Title(),
                                                    " are still held: ", Names(held),
                                                    "; release what holds them, and sync again"));
}

absl::Status PinFileCore::WriteOut(const DirtyRanges& dirty) {
  absl::Status worst;
  bool unmapped = false;
  for (const Range& range : dirty.ranges()) {
    const Range pages = WholePages(range);
    if (msync(reinterpret_cast<void*>(pages.start), pages.size(), MS_SYNC) == 0) continue;
    if (errno == ENOMEM) {
      unmapped = true;
      continue;
    }
    worst = ErrnoToStatus(errno, absl::StrCat("msync of ", pages.ToString()),
                          "the file may lack what was written; sync again");
    KeepDirty({range});
  }
  if (!worst.ok() || !unmapped) return worst;
  if (guard_ == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat("dirty ranges of ", Title(),
                     " were unmapped before they were synced: ", Names(dirty.ranges()),
                     "; the kernel writes them when it likes; sync before unmapping, or give the "
                     "pin file a guard"));
  }
  if (const int error = guard_->impl_->WriteOut(); error != 0) {
    return ErrnoToStatus(error, "fdatasync of the guarded file", "sync again");
  }
  return absl::OkStatus();
}

}  // namespace linchpin::internal
