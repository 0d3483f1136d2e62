// Memory of each kind of page, and pins on it that the engines are allowed to reach.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "linchpin/pin.h"
#include "linchpin/range.h"
#include "linchpin/registrar.h"
#include "tests/edu/owned_frames.h"

namespace linchpin::testing {

inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

enum class PageKind : std::uint8_t { kSmall, kTransparentHuge, kHugetlb };

std::string ToString(PageKind kind);

// Private anonymous memory of one kind of page, all of it touched; the small pages in random order,
// so that neighbours are seldom neighbours physically.
class PageMemory final {
 public:
  // Returns: the memory; Unavailable when the kernel gave pages of another kind, or has none.
  static absl::StatusOr<std::unique_ptr<PageMemory>> Make(PageKind kind, std::size_t bytes,
                                                          std::mt19937_64& random);
  ~PageMemory();
  PageMemory(const PageMemory&) = delete;
  PageMemory& operator=(const PageMemory&) = delete;

  PageKind kind() const { return kind_; }
  std::span<std::byte> bytes() const { return {data_, size_}; }
  Range range(std::size_t offset, std::size_t length) const;
  Range range() const { return range(0, size_); }

  // Returns: OK when each of its frames has that flag of /proc/kpageflags that its kind has, and no
  // other.
  absl::Status CheckKind(std::span<const std::uint64_t> frames) const;

 private:
  PageMemory(PageKind kind, std::size_t bytes) : kind_(kind), size_(bytes) {}
  absl::Status Map();

  const PageKind kind_;
  const std::size_t size_;
  void* mapping_ = nullptr;
  std::size_t mapped_ = 0;  // Bytes; more than size_ where the huge pages had to be aligned.
  std::byte* data_ = nullptr;
};

// A long-term pin on a device, for writing. While it is there, engines may reach its frames.
class PinnedRange final {
 public:
  static absl::StatusOr<std::unique_ptr<PinnedRange>> Make(Range range,
                                                           std::shared_ptr<Registrar> registrar,
                                                           OwnedFrames& owned);
  const VaddrPin& pin() const { return pin_; }
  Range range() const { return pin_.range(); }
  const std::vector<std::uint64_t>& frames() const { return frames_.frames(); }
  std::uint64_t BusAddress(std::size_t offset) const { return frames_.BusAddress(offset); }

 private:
  PinnedRange(VaddrPin pin, OwnedFrames& owned)
      : pin_(std::move(pin)), frames_(owned, pin_.range()) {}

  VaddrPin pin_;
  OwnedRange
      frames_;  // Looked up after the registration, which may move pages; and given up first.
};

}  // namespace linchpin::testing
