#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "absl/status/statusor.h"

namespace linchpin {

// What is known of a physical range besides where it is: how it is held, and what kind of memory it
// is. docs/phyr.md says where each comes from.
enum class PhyrFlags : std::uint16_t {
  kNone = 0,
  kPinned = 1 << 0,    // Its pages are held: they can neither move nor go.
  kLongterm = 1 << 1,  // Beside kPinned: for as long as the holder wants, not for one operation.
  kOnDemand = 1 << 2,  // Nothing is held: the device faults, and hears when pages go.
  kBusAddress =
      1 << 3,          // The address is a device's on the bus (P2P): never translated or unmapped.
  kDevice = 1 << 4,    // Memory of a device, without struct page.
  kHuge = 1 << 5,      // Part of a huge page: hugetlb, or transparent.
  kZeroPage = 1 << 6,  // The kernel's page of zeros, which everybody shares.
  kWritable = 1 << 7,  // The mapping may be written.
  kDirty = 1 << 8,     // A device has written it.
  // Not where it is, only its place within a page: Phyr::granule.
  kUnknownAddress = 1 << 9,
  kSwapped = 1 << 10,  // Not in memory: swapped out, or on its way to another place.
  kAbsent = 1 << 11,   // Never touched, a guard page, or not mapped.
};

constexpr PhyrFlags operator|(PhyrFlags a, PhyrFlags b) {
  return static_cast<PhyrFlags>(static_cast<std::uint16_t>(a) | static_cast<std::uint16_t>(b));
}
constexpr PhyrFlags operator&(PhyrFlags a, PhyrFlags b) {
  return static_cast<PhyrFlags>(static_cast<std::uint16_t>(a) & static_cast<std::uint16_t>(b));
}
constexpr PhyrFlags operator~(PhyrFlags a) {
  return static_cast<PhyrFlags>(~static_cast<std::uint16_t>(a) & 0xfff);
}
constexpr PhyrFlags& operator|=(PhyrFlags& a, PhyrFlags b) {
  return a = a | b;
}
constexpr bool Any(PhyrFlags a) {
  return a != PhyrFlags::kNone;
}

// Of memory that is nowhere: it has a length, and no address.
inline constexpr PhyrFlags kPlaceless = PhyrFlags::kSwapped | PhyrFlags::kAbsent;

// What says how an address is to be read.
inline constexpr PhyrFlags kAddressFlags = kPlaceless | PhyrFlags::kUnknownAddress;

// "pinned|longterm|writable"; "none".
std::string ToString(PhyrFlags flags);

namespace internal {
// Says what is wrong with the range, and aborts.
[[noreturn]] void EndForPhyr(std::uint64_t address, std::uint64_t length, PhyrFlags flags);
}  // namespace internal

// A physical range: a byte address, a length in bytes, and flags, in 16 bytes. The idea, and the
// name, are of the Linux kernel's list (2021, `struct phyr`), whose `struct phys_vec` it resembles.
class Phyr final {
 public:
  static constexpr int kFlagBits = 12;
  static constexpr std::uint64_t kMaxLength = (std::uint64_t{1} << (64 - kFlagBits)) - 1;

  constexpr Phyr() = default;  // Of length 0.

  // Requires: what Of() asks for.
  constexpr Phyr(std::uint64_t address, std::uint64_t length, PhyrFlags flags = PhyrFlags::kNone)
      : address_(address),
        length_and_flags_(length << kFlagBits | static_cast<std::uint16_t>(flags)) {
    if (!Fits(address, length, flags)) internal::EndForPhyr(address, length, flags);
  }

  // Returns: the range; InvalidArgument for one that is longer than kMaxLength or goes beyond 2^64,
  // for unknown flags, for an address of what has none, and with kUnknownAddress for one that is no
  // granule and a place within it.
  static absl::StatusOr<Phyr> Of(std::uint64_t address, std::uint64_t length, PhyrFlags flags);

  // In bytes. 0 for what has no address (kSwapped, kAbsent). With kUnknownAddress: granule() plus
  // the place within the page.
  constexpr std::uint64_t address() const { return address_; }
  constexpr std::uint64_t length() const { return length_and_flags_ >> kFlagBits; }
  constexpr PhyrFlags flags() const {
    return static_cast<PhyrFlags>(length_and_flags_ & ((1U << kFlagBits) - 1));
  }
  constexpr bool Has(PhyrFlags any) const { return Any(flags() & any); }

  // Of a range that is not empty: the address of its last byte.
  constexpr std::uint64_t last() const { return address() + length() - 1; }

  // Whether there is an address that a device could be given.
  constexpr bool placed() const { return !Has(kPlaceless | PhyrFlags::kUnknownAddress); }

  // With kUnknownAddress: the size of the page that the range lies in, in bytes; it is physically
  // contiguous. Otherwise 0.
  constexpr std::uint64_t granule() const {
    return Has(PhyrFlags::kUnknownAddress) ? std::bit_floor(address_) : 0;
  }

  // `length` bytes of it from `offset` on. Requires: they are in it.
  constexpr Phyr Part(std::uint64_t offset, std::uint64_t length) const {
    return {Has(kPlaceless) ? address_ : address_ + offset, length, flags()};
  }

  // Whether `next` goes on where this ends, in all that a device could tell.
  constexpr bool Continues(Phyr next) const {
    if (flags() != next.flags() || length() > kMaxLength - next.length()) return false;
    if (Has(kPlaceless)) return true;
    const bool wraps = last() == std::numeric_limits<std::uint64_t>::max();
    return !Has(PhyrFlags::kUnknownAddress) && !wraps && last() + 1 == next.address();
  }

  constexpr bool operator==(const Phyr&) const = default;

  // "[0x1000, 0x2fff] 8192 bytes pinned|longterm".
  std::string ToString() const;

 private:
  static constexpr bool Fits(std::uint64_t address, std::uint64_t length, PhyrFlags flags) {
    const std::uint64_t last = length == 0 ? address : address + (length - 1);
    if (length > kMaxLength || last < address ||
        (static_cast<std::uint16_t>(flags) >> kFlagBits) != 0)
      return false;
    if (!Any(flags & kAddressFlags)) return true;
    if (Any(flags & kPlaceless)) return address == 0 && !Any(flags & PhyrFlags::kUnknownAddress);
    return address != 0 && (length == 0 || std::bit_floor(address) == std::bit_floor(last));
  }

  std::uint64_t address_ = 0;
  std::uint64_t length_and_flags_ = 0;  // Length in the high 52 bits.
};

static_assert(sizeof(Phyr) == 16 && alignof(Phyr) == 8);
static_assert(std::is_trivially_copyable_v<Phyr> && std::is_standard_layout_v<Phyr>);
static_assert(Phyr(~std::uint64_t{0}, 1).address() == ~std::uint64_t{0});  // All of 64 bits,
static_assert(Phyr(0, Phyr::kMaxLength, kPlaceless).length() ==
              (std::uint64_t{1} << 52) - 1);                                 // 52,
static_assert(Phyr(0, Phyr::kMaxLength, kPlaceless).flags() == kPlaceless);  // and 12.

}  // namespace linchpin
