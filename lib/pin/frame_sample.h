// FrameSample: the frames that were behind a range when it was pinned, to be compared with what is
// there later. As long as the pin lasts they are counted in FrameMap::OfProcess().
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/pin/page_frames.h"
#include "linchpin/range.h"

namespace linchpin::internal {

// Thread-safety: const calls may be made at once from any threads, also while one calls EndPin.
class FrameSample final {
 public:
  // Which pages of a range are compared.
  enum class Pages : std::uint8_t { kEnds, kAll };

  enum class Finding : std::uint8_t {
    kUnknown,    // Nothing was sampled, or the page map cannot be read.
    kSame,       // No page is known to have moved.
    kDifferent,  // One has: `page` is the first.
  };
  struct Comparison {
    Finding finding = Finding::kUnknown;
    Range page;              // Of kDifferent, with its frames.
    std::uint64_t then = 0;  // Never 0.
    std::uint64_t now = 0;   // 0: none.
  };

  // Looks at the frames behind `range`, which is pinned: pages may move until then.
  // `private_pages`: it is private anonymous memory, whose pages nobody but the process can take
  // away, so that one which is not there has been given back.
  FrameSample(const PageMap& map, Range range, bool private_pages);
  ~FrameSample() { EndPin(); }
  FrameSample(const FrameSample&) = delete;
  FrameSample& operator=(const FrameSample&) = delete;

  bool readable() const { return !frames_.empty(); }

  // Compares what is behind `asked` now. What had no frame then is not compared. Neither allocates
  // nor takes a lock. Requires: `asked` lies in the range.
  Comparison Compare(const PageMap& map, Range asked, Pages pages) const;

  // The range is not pinned any more. With no lock held.
  void EndPin();

 private:
  Comparison CompareRun(const PageMap& map, std::uint64_t first, std::uint64_t last) const;
  bool Moved(std::uint64_t then, PageMapEntry entry) const;

  const std::uint64_t first_page_;  // Its number.
  const bool private_pages_;
  std::vector<std::uint64_t> frames_;  // Of each page; 0: none. Empty: could not be read.
  bool counted_ = false;               // In FrameMap::OfProcess().
};

}  // namespace linchpin::internal
