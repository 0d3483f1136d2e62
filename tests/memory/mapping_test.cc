// What kind a mapping is, from what the kernel says of it.
#include "lib/memory/mapping.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace linchpin {
namespace {

constexpr std::size_t kHuge = std::size_t{2} << 20;

struct Row {
  const char* name;
  bool shared;
  std::uint64_t inode;
  std::size_t page_size;
  MappingKind kind;
};

MappingKind KindOf(const Row& row) {
  Mapping mapping;
  mapping.range = {0x10000, 0x20000};
  mapping.name = row.name;
  mapping.shared = row.shared;
  mapping.inode = row.inode;
  mapping.device = row.inode == 0 ? 0 : 1;
  mapping.page_size = row.page_size;
  return Classify(mapping);
}

TEST(Mapping, IsOfTheKindThatItsNameFileAndPagesSay) {
  const Row rows[] = {
      {"", false, 0, 4096, MappingKind::kAnonymous},
      {"[heap]", false, 0, 4096, MappingKind::kAnonymous},
      {"[stack]", false, 0, 4096, MappingKind::kAnonymous},
      {"[anon:jemalloc]", false, 0, 4096, MappingKind::kAnonymous},
      {"/anon_hugepage (deleted)", false, 7, kHuge, MappingKind::kAnonymous},
      {"/anon_hugepage (deleted)", true, 7, kHuge, MappingKind::kHugetlb},
      {"/anon_hugepage (deleted)", false, 7, 4096, MappingKind::kFilePrivate},
      {"/memfd:x (deleted)", true, 7, kHuge, MappingKind::kHugetlb},
      {"/memfd:x (deleted)", false, 7, kHuge, MappingKind::kFilePrivate},
      {"/mnt/huge/file", true, 7, kHuge, MappingKind::kHugetlb},
      {"/memfd:x (deleted)", true, 7, 4096, MappingKind::kShmem},
      {"/memfd:x (deleted)", false, 7, 4096, MappingKind::kFilePrivate},
      {"/dev/shm/x", true, 7, 4096, MappingKind::kShmem},
      {"/dev/zero (deleted)", true, 7, 4096, MappingKind::kShmem},
      {"[anon_shmem:x]", true, 7, 4096, MappingKind::kShmem},
      {"/SYSV00000000 (deleted)", true, 7, 4096, MappingKind::kSysvShm},
      {"/SYSV0000beef (deleted)", true, 7, kHuge, MappingKind::kSysvShm},
      {"/SYSV.txt", true, 7, 4096, MappingKind::kFileShared},
      {"/SYSV00000000/x", true, 7, 4096, MappingKind::kFileShared},
      {"/secretmem (deleted)", true, 7, 4096, MappingKind::kSecretmem},
      {"/usr/lib/libc.so.6", false, 7, 4096, MappingKind::kFilePrivate},
      {"/tmp/data (deleted)", true, 7, 4096, MappingKind::kFileShared},
      {"/dev/infiniband/uverbs0", true, 7, 4096, MappingKind::kSpecial},
      {"/dev/zero", false, 7, 4096, MappingKind::kSpecial},
      {"anon_inode:[io_uring]", true, 7, 4096, MappingKind::kSpecial},
      {"(unreachable)/x", true, 7, 4096, MappingKind::kSpecial},
      {"[vdso]", false, 0, 4096, MappingKind::kSpecial},
      {"[vvar]", false, 0, 4096, MappingKind::kSpecial},
      {"[uprobes]", false, 0, 4096, MappingKind::kSpecial},
      {"", true, 0, 4096, MappingKind::kSpecial},
  };
  for (const Row& row : rows) {
    EXPECT_STREQ(ToString(KindOf(row)), ToString(row.kind))
        << "'" << row.name << "' shared " << row.shared << " pages of " << row.page_size;
  }
}

}  // namespace
}  // namespace linchpin
