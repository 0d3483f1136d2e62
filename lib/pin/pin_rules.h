// PinRules: what may be pinned how, as one decision table. They are the four cases of the kernel's
// Documentation/core-api/pin_user_pages.rst, said of what user space can see: a mapping, a way to
// hold its pages, and what the device is to do. docs/pins.md explains each in prose.
//
//   target        | pinned, to read  | pinned, to write  | on demand      | frames only
//   --------------+------------------+-------------------+----------------+---------------
//   hole          | kNothingMapped   | kNothingMapped    | kFaultsLater   | kNothingMapped
//   anonymous     | kAllowed         | kAllowed          | kAllowed       | kAllowed
//   shared memory | kNeedsGuard      | kNeedsGuard       | kAllowed       | kAllowed
//   hugetlb       | kNeedsGuard      | kNeedsGuard       | kAllowed       | kAllowed
//   shared file   | kNeedsGuard      | kWritesUnheard *  | kAllowed       | kAllowed
//   private file  | kNeedsGuard      | kNeedsGuard       | kAllowed       | kAllowed
//   FS-DAX file   | kFsDax           | kFsDax            | kAllowed       | kAllowed
//   secret memory | kSecret          | kSecret           | kSecret        | kAllowed
//   device memory | kNoPages         | kNoPages          | kFaultsLater   | kAllowed
//   special       | kUnclear         | kUnclear          | kUnclear       | kAllowed
//
//   * kNeedsGuard where KernelTraits::pins_files_for_writing. A private mapping never gets there.
//
// kTransient has the columns of kLongterm, because verbs pin long-term whatever it is for. Where
// the table allows a pin, the protection of the mapping has a word too:
//
//   protection | to read       | to read, forced **: private | shared          | to write
//   -----------+---------------+-----------------------------+-----------------+------------
//   ---        | kNotReadable  | kAllowed                    | kSharedReadOnly | kNotWritable
//   r--        | kAllowed      | kAllowed                    | kSharedReadOnly | kNotWritable
//   -w-        | kNotReadable  | kAllowed                    | kAllowed        | kAllowed
//   rw-        | kAllowed      | kAllowed                    | kAllowed        | kAllowed
//
//   ** where KernelTraits::reads_force_writes: to read, the kernel takes a page as if to write to
//      it, and copies a private one first. On demand what is not kAllowed is kFaultsLater.
//
// The two traits are probed, never deduced from a version; an unknown one makes those decisions
// uncertain that it matters to.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "lib/memory/snapshot.h"
#include "linchpin/access.h"
#include "linchpin/pin.h"

namespace linchpin {

enum class PinVerdict : std::uint8_t {
  kAllowed,
  kNeedsGuard,   // Allowed; but a truncation takes the pages, and only a BackingGuard stops that.
  kFaultsLater,  // Registers; the device's access to it fails.
  kUnclear,      // Nobody but its driver can tell.
  // Refused:
  kNothingMapped,
  kNotReadable,
  kNotWritable,
  kSharedReadOnly,  // To a kernel that forces writes.
  kWritesUnheard,   // The file system must hear of each write, and a device's it does not.
  kFsDax,           // The pages are the storage: a pin would keep the file system from its blocks.
  kSecret,
  kNoPages,
};
inline constexpr int kPinVerdicts = 12;

constexpr bool IsRefusal(PinVerdict verdict) {
  return verdict >= PinVerdict::kNothingMapped;
}

// What Register answers: Unimplemented for kFsDax (EOPNOTSUPP), FailedPrecondition (EFAULT) for the
// other refusals, else OK.
absl::StatusCode CodeOf(PinVerdict verdict);

enum class Trait : std::uint8_t { kUnknown, kNo, kYes };

// In what kernels differ. Linux 6.1 has both; 6.12 and 7.2 have neither.
struct KernelTraits {
  Trait reads_force_writes = Trait::kUnknown;      // FOLL_WRITE|FOLL_FORCE even for reading alone.
  Trait pins_files_for_writing = Trait::kUnknown;  // Shared mappings that are written back.
};

struct PinCase {
  PinTarget target = PinTarget::kAnonymous;
  int protection = 0;  // PROT_* bits.
  bool shared = false;
  PinKind kind = PinKind::kLongterm;
  bool writes = false;  // Whether the pages are taken to be written.
};

struct PinDecision {
  PinVerdict verdict = PinVerdict::kAllowed;
  bool certain = true;  // False where a trait that matters is not known: then it is a guess.
};

PinDecision Decide(const PinCase& pin, const KernelTraits& traits);

// Whether the kernel takes the pages of a registration for `access` to be written. A window may be
// bound for writing later, so kMwBind counts.
constexpr bool TakesForWriting(Access access) {
  return Any(access & (Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteAtomic |
                       Access::kMwBind));
}

}  // namespace linchpin
