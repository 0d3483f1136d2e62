// PROCMAP_QUERY: the kernel's ioctl on /proc/PID/maps (Linux 6.11), declared here because the
// headers of the systems we build on are older. The layout is linux/fs.h's `struct procmap_query`.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace linchpin {

struct ProcmapQuery {
  std::uint64_t size;         // In: sizeof this struct.
  std::uint64_t query_flags;  // In.
  std::uint64_t query_addr;   // In.
  std::uint64_t vma_start;    // Out, as all to dev_minor.
  std::uint64_t vma_end;
  std::uint64_t vma_flags;
  std::uint64_t vma_page_size;
  std::uint64_t vma_offset;
  std::uint64_t inode;
  std::uint32_t dev_major;
  std::uint32_t dev_minor;
  std::uint32_t vma_name_size;  // In: room at vma_name_addr. Out: used, with the final zero.
  std::uint32_t build_id_size;  // In: 0, we do not ask.
  std::uint64_t vma_name_addr;  // In.
  std::uint64_t build_id_addr;  // In.
};
static_assert(sizeof(ProcmapQuery) == 104);

inline constexpr std::uint64_t kProcmapReadable = 0x01;
inline constexpr std::uint64_t kProcmapWritable = 0x02;
inline constexpr std::uint64_t kProcmapExecutable = 0x04;
inline constexpr std::uint64_t kProcmapShared = 0x08;
inline constexpr std::uint64_t kProcmapCoveringOrNext = 0x10;

inline constexpr unsigned long kProcmapQuery = _IOWR('f', 17, ProcmapQuery);

}  // namespace linchpin
