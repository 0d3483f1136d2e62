#include "lib/memory/guard_pages.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstdint>

#include "lib/base/fd.h"
#include "lib/memory/mapping.h"
#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

// PAGEMAP_SCAN (Linux 6.7) and its category PAGE_IS_GUARD (6.15), declared here because the headers
// of the systems we build on are older. The layouts are those of linux/fs.h.
struct PageRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};

struct PagemapScan {
  std::uint64_t size;  // sizeof this struct.
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;  // Out.
  std::uint64_t vec;       // Where PageRegions go.
  std::uint64_t vec_len;
  std::uint64_t max_pages;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_anyof_mask;
  std::uint64_t return_mask;
};
static_assert(sizeof(PagemapScan) == 96);

constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);
constexpr std::uint64_t kIsGuard = std::uint64_t{1} << 8;

}  // namespace

Range FirstGuardPages(pid_t pid, Range range) {
  const Fd pagemap(open(ProcPath(pid, "pagemap").c_str(), O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) return {};
  const std::uint64_t page = BasePageSize();
  PageRegion found{};
  PagemapScan scan{};
  scan.size = sizeof(scan);
  scan.start = range.start / page * page;
  scan.end = (range.end - 1) / page * page + page;
  scan.vec = reinterpret_cast<std::uintptr_t>(&found);
  scan.vec_len = 1;
  scan.category_mask = kIsGuard;
  scan.return_mask = kIsGuard;
  if (ioctl(pagemap.get(), kPagemapScan, &scan) < 1) return {};
  return {std::max<std::uintptr_t>(range.start, found.start),
          std::min<std::uintptr_t>(range.end, found.end)};
}

}  // namespace linchpin
