// Mapping: one mapping (VMA) of this process as the kernel describes it, and what kind it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "lib/base/base_page.h"  // IWYU pragma: export
#include "linchpin/range.h"

namespace linchpin {

// Kinds as far as they differ in who can take the pages away, and so in what a monitor can see.
enum class MappingKind : std::uint8_t {
  kHole,       // Nothing is mapped.
  kAnonymous,  // Private, no file: heap, stacks, [anon:...], private anonymous hugetlb.
  kShmem,      // memfd, /dev/shm, shared anonymous memory. Files of other tmpfs mounts are kFile*.
  kHugetlb,    // Shared and of huge pages: anonymous, memfd or a file of hugetlbfs.
  kFilePrivate,  // A file mapped privately, of whatever file system.
  kFileShared,   // A file mapped shared.
  kSysvShm,      // shmat().
  kSecretmem,    // memfd_secret().
  kSpecial,      // [vdso], [vvar], /dev/..., anon_inode, dma-buf, and whatever has no path.
};

const char* ToString(MappingKind kind);

struct Mapping {
  Range range;  // Of a hole: from the page of the address asked for to the next mapping.
  MappingKind kind = MappingKind::kHole;
  int protection = 0;  // PROT_* bits.
  bool shared = false;
  std::size_t page_size = 4096;  // In bytes; a huge one only for hugetlb.
  std::uint64_t device = 0;      // makedev() of the file system; 0 without a file.
  std::uint64_t inode = 0;
  std::uint64_t offset = 0;  // Of range.start in the file, in bytes.
  std::string name;          // As the kernel gives it, with its " (deleted)".
};

// Decides the kind from the other fields.
MappingKind Classify(const Mapping& mapping);

}  // namespace linchpin
