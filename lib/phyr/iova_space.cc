// IovaSpace: best fit, by two orders of the free ranges.
#include <bit>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "boost/intrusive/set.hpp"

#include "lib/base/check.h"
#include "lib/base/mutex.h"
#include "linchpin/dma_map.h"

namespace linchpin {
namespace {

using SetHook =
    boost::intrusive::set_member_hook<boost::intrusive::link_mode<boost::intrusive::safe_link>>;

// A range [first, first + bytes) of the space.
struct Extent {
  std::uint64_t first = 0;
  std::uint64_t bytes = 0;
  SetHook by_address;  // Among the free ones, or the allocated ones.
  SetHook by_size;     // Among the free ones.

  std::uint64_t last() const { return first + (bytes - 1); }
};

struct AddressOf {
  using type = std::uint64_t;
  std::uint64_t operator()(const Extent& extent) const { return extent.first; }
};
struct SizeOf {
  using type = std::pair<std::uint64_t, std::uint64_t>;
  type operator()(const Extent& extent) const { return {extent.bytes, extent.first}; }
};

using ByAddress =
    boost::intrusive::set<Extent,
                          boost::intrusive::member_hook<Extent, SetHook, &Extent::by_address>,
                          boost::intrusive::key_of_value<AddressOf>>;
using BySize =
    boost::intrusive::set<Extent, boost::intrusive::member_hook<Extent, SetHook, &Extent::by_size>,
                          boost::intrusive::key_of_value<SizeOf>>;

}  // namespace

struct IovaSpace::Impl {
  explicit Impl(const Options& given) : options(given) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    const MutexLock lock(mutex);
    sizes.clear();
    const auto free_one = [](Extent* extent) { delete extent; };
    free.clear_and_dispose(free_one);
    allocated.clear_and_dispose(free_one);
  }

  Extent* FindLocked(std::uint64_t bytes, std::uint64_t last_max)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    for (auto at = sizes.lower_bound({bytes, 0}); at != sizes.end(); ++at) {
      if (at->first + (bytes - 1) <= last_max) return &*at;
    }
    return nullptr;
  }

  const Options options;

  // Protects the sets and what is in them. No other lock is taken under it.
  mutable Mutex mutex;
  // Free extents are whole granules, disjoint, and none begins where another ends; each is in
  // `free` and in `sizes`. Together with the allocated ones they are the space.
  ByAddress free ABSL_GUARDED_BY(mutex);
  BySize sizes ABSL_GUARDED_BY(mutex);
  ByAddress allocated ABSL_GUARDED_BY(mutex);
  std::uint64_t bytes_allocated ABSL_GUARDED_BY(mutex) = 0;
};

IovaSpace::IovaSpace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
IovaSpace::~IovaSpace() = default;

absl::StatusOr<std::shared_ptr<IovaSpace>> IovaSpace::Create(const Options& options) {
  const std::uint64_t within = options.granule - 1;
  constexpr std::uint64_t kGranuleMax = std::uint64_t{1} << 51;  // Of which a Phyr holds one.
  if (!std::has_single_bit(options.granule) || options.granule > kGranuleMax ||
      (options.first & within) != 0 || (options.last & within) != within ||
      options.last < options.first) {
    return absl::InvalidArgumentError(
        absl::StrFormat("IO addresses from %#x to %#x are not whole granules of %d bytes, a power "
                        "of two up to 2^51",
                        options.first, options.last, options.granule));
  }
  if (options.first == 0 && options.last == std::numeric_limits<std::uint64_t>::max()) {
    return absl::InvalidArgumentError(
        "all of 2^64 IO addresses are more than one space can have; leave one granule out");
  }
  auto impl = std::make_unique<Impl>(options);
  auto all = std::make_unique<Extent>();
  all->first = options.first;
  all->bytes = options.last - options.first + 1;
  {
    const MutexLock lock(impl->mutex);
    impl->sizes.insert(*all);
    impl->free.insert(*all.release());
  }
  return std::shared_ptr<IovaSpace>(new IovaSpace(std::move(impl)));
}

absl::StatusOr<std::uint64_t> IovaSpace::Allocate(std::uint64_t bytes, std::uint64_t last_max) {
  const std::uint64_t within = impl_->options.granule - 1;
  if (bytes == 0) return absl::InvalidArgumentError("no IO address is needed for 0 bytes");
  auto taken = std::make_unique<Extent>();
  const bool fits = bytes <= std::numeric_limits<std::uint64_t>::max() - within;
  const std::uint64_t rounded = (bytes + within) & ~within;
  const MutexLock lock(impl_->mutex);
  Extent* const found = fits ? impl_->FindLocked(rounded, last_max) : nullptr;
  if (found == nullptr) {
    const std::uint64_t largest = impl_->sizes.empty() ? 0 : impl_->sizes.rbegin()->bytes;
    return absl::ResourceExhaustedError(absl::StrFormat(
        "no %d contiguous IO addresses up to %#x are free (the largest free range has %d); unmap "
        "something, or use a larger space",
        bytes, last_max, largest));
  }
  impl_->sizes.erase(impl_->sizes.iterator_to(*found));
  impl_->bytes_allocated += rounded;
  if (found->bytes == rounded) {
    impl_->free.erase(impl_->free.iterator_to(*found));
    impl_->allocated.insert(*found);
    return found->first;
  }
  taken->first = found->first;
  taken->bytes = rounded;
  found->first += rounded;  // Its place among the free ones is the same.
  found->bytes -= rounded;
  impl_->sizes.insert(*found);
  impl_->allocated.insert(*taken);
  return taken.release()->first;
}

absl::Status IovaSpace::Free(std::uint64_t address) {
  std::unique_ptr<Extent> swallowed[2];  // Freed after the lock.
  const MutexLock lock(impl_->mutex);
  const auto found = impl_->allocated.find(address);
  if (found == impl_->allocated.end()) {
    return absl::NotFoundError(
        absl::StrFormat("no range of IO addresses that was given out begins at %#x", address));
  }
  Extent& freed = *found;
  impl_->allocated.erase(found);
  impl_->bytes_allocated -= freed.bytes;
  const auto next = impl_->free.upper_bound(freed.first);
  if (next != impl_->free.begin()) {
    const auto before = std::prev(next);
    if (before->last() + 1 == freed.first) {
      freed.first = before->first;
      freed.bytes += before->bytes;
      impl_->sizes.erase(impl_->sizes.iterator_to(*before));
      swallowed[0].reset(&*before);
      impl_->free.erase(before);
    }
  }
  if (next != impl_->free.end() && freed.last() + 1 == next->first) {
    freed.bytes += next->bytes;
    impl_->sizes.erase(impl_->sizes.iterator_to(*next));
    swallowed[1].reset(&*next);
    impl_->free.erase(next);
  }
  impl_->free.insert(freed);
  impl_->sizes.insert(freed);
  return absl::OkStatus();
}

std::uint64_t IovaSpace::granule() const {
  return impl_->options.granule;
}

std::uint64_t IovaSpace::bytes_allocated() const {
  const MutexLock lock(impl_->mutex);
  return impl_->bytes_allocated;
}

std::uint64_t IovaSpace::bytes_free() const {
  return impl_->options.last - impl_->options.first + 1 - bytes_allocated();
}

void IovaSpace::CheckInvariantsForTest() const {
  const MutexLock lock(impl_->mutex);
  LINCHPIN_CHECK(impl_->free.size() == impl_->sizes.size());
  std::uint64_t allocated = 0;
  auto free = impl_->free.begin();
  auto taken = impl_->allocated.begin();
  bool after_free = false;
  std::uint64_t at = impl_->options.first;
  while (free != impl_->free.end() || taken != impl_->allocated.end()) {
    const bool is_free = free != impl_->free.end() && free->first == at;
    LINCHPIN_CHECK(is_free || (taken != impl_->allocated.end() && taken->first == at));
    LINCHPIN_CHECK(!is_free || !after_free);
    const Extent& extent = is_free ? *free++ : *taken++;
    LINCHPIN_CHECK(extent.bytes != 0 && extent.bytes % impl_->options.granule == 0);
    if (!is_free) allocated += extent.bytes;
    at = extent.last() + 1;
    after_free = is_free;
  }
  LINCHPIN_CHECK(at == impl_->options.last + 1 && allocated == impl_->bytes_allocated);
}

}  // namespace linchpin
