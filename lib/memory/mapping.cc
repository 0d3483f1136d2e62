#include "lib/memory/mapping.h"

#include <cctype>
#include <string_view>

namespace linchpin {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

// "/SYSV" and the key in 8 hexadecimal digits, whose file never has a path: always "deleted".
bool IsSysvName(std::string_view name) {
  constexpr std::string_view kPrefix = "/SYSV";
  constexpr std::size_t kKeyDigits = 8;
  if (!name.starts_with(kPrefix)) return false;
  name.remove_prefix(kPrefix.size());
  if (name.size() < kKeyDigits) return false;
  for (const char digit : name.substr(0, kKeyDigits)) {
    if (std::isxdigit(static_cast<unsigned char>(digit)) == 0) return false;
  }
  const std::string_view rest = name.substr(kKeyDigits);
  return rest.empty() || rest == kDeleted;
}

// A list of what is known to be ordinary memory: a name not in it ([vdso], [uprobes]) is special.
bool IsAnonymousName(std::string_view name) {
  return name.empty() || name == "[heap]" || name.starts_with("[stack") ||
         name.starts_with("[anon:");
}

bool IsShmemName(std::string_view name) {
  return name.starts_with("/memfd:") || name.starts_with("/dev/shm/") ||
         name == "/dev/zero (deleted)" || name.starts_with("[anon_shmem:");
}

}  // namespace

const char* ToString(MappingKind kind) {
  switch (kind) {
    case MappingKind::kHole:
      return "hole";
    case MappingKind::kAnonymous:
      return "anonymous";
    case MappingKind::kShmem:
      return "shmem";
    case MappingKind::kHugetlb:
      return "hugetlb";
    case MappingKind::kFilePrivate:
      return "private file";
    case MappingKind::kFileShared:
      return "shared file";
    case MappingKind::kSysvShm:
      return "SysV shm";
    case MappingKind::kSecretmem:
      return "secretmem";
    case MappingKind::kSpecial:
      return "special";
  }
  return "unknown";
}

MappingKind Classify(const Mapping& mapping) {
  const std::string_view name = mapping.name;
  if (mapping.device == 0 && mapping.inode == 0) {
    return !mapping.shared && IsAnonymousName(name) ? MappingKind::kAnonymous
                                                    : MappingKind::kSpecial;
  }
  if (IsSysvName(name)) return MappingKind::kSysvShm;
  if (name == "/secretmem" || name == "/secretmem (deleted)") return MappingKind::kSecretmem;
  if (mapping.page_size > BasePageSize()) {
    if (mapping.shared) return MappingKind::kHugetlb;
    // The kernel's own file behind MAP_ANONYMOUS|MAP_HUGETLB: nobody has a descriptor to truncate.
    return name == "/anon_hugepage (deleted)" ? MappingKind::kAnonymous : MappingKind::kFilePrivate;
  }
  if (IsShmemName(name)) {
    return mapping.shared ? MappingKind::kShmem : MappingKind::kFilePrivate;
  }
  if (!name.starts_with('/') || name.starts_with("/dev/")) return MappingKind::kSpecial;
  return mapping.shared ? MappingKind::kFileShared : MappingKind::kFilePrivate;
}

}  // namespace linchpin
