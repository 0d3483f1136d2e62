#include "lib/memory/snapshot.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/memory/procmap.h"
#include "lib/memory/smaps.h"

namespace linchpin {
namespace {

// File systems whose files are a driver's.
bool IsOfDrivers(std::string_view file_system) {
  constexpr std::array<std::string_view, 4> kNames{"sysfs", "proc", "debugfs", "configfs"};
  return std::find(kNames.begin(), kNames.end(), file_system) != kNames.end();
}

PinTarget DriversTarget(pid_t pid, const Mapping& mapping) {
  // MAP_PRIVATE of /dev/zero is what MAP_ANONYMOUS is.
  if (mapping.name == "/dev/zero" && !mapping.shared) return PinTarget::kAnonymous;
  const auto details = ReadSmaps(pid, mapping.range);
  return details && details->without_pages ? PinTarget::kDevice : PinTarget::kSpecial;
}

PinTarget TargetOfFile(pid_t pid, const Mapping& mapping, const FileFacts& file) {
  if (IsOfDrivers(file.file_system)) return DriversTarget(pid, mapping);
  if (file.dax) return PinTarget::kFsDax;
  if (!mapping.shared) return PinTarget::kFilePrivate;
  return IsMemoryOnly(file.file_system) ? PinTarget::kShmem : PinTarget::kFileShared;
}

PinTarget TargetOf(pid_t pid, const Mapping& mapping, const FileFacts& file) {
  switch (mapping.kind) {
    case MappingKind::kHole:
      return PinTarget::kHole;
    case MappingKind::kAnonymous:
      return PinTarget::kAnonymous;
    case MappingKind::kShmem:
    case MappingKind::kSysvShm:
      return PinTarget::kShmem;
    case MappingKind::kHugetlb:
      return PinTarget::kHugetlb;
    case MappingKind::kFilePrivate:
    case MappingKind::kFileShared:
      return TargetOfFile(pid, mapping, file);
    case MappingKind::kSecretmem:
      return PinTarget::kSecretmem;
    case MappingKind::kSpecial:
      break;
  }
  return DriversTarget(pid, mapping);
}

bool HasFile(MappingKind kind) {
  return kind == MappingKind::kShmem || kind == MappingKind::kHugetlb ||
         kind == MappingKind::kFilePrivate || kind == MappingKind::kFileShared ||
         kind == MappingKind::kSecretmem;
}

std::optional<std::uintptr_t> EndOfFile(const Mapping& mapping, const FileFacts& file) {
  if (!file.bytes) return std::nullopt;
  const std::uint64_t page = mapping.page_size;
  const std::uint64_t pages = *file.bytes / page + (*file.bytes % page != 0 ? 1 : 0);
  const std::uint64_t bytes = pages * page;
  if (bytes >= mapping.offset + mapping.range.size()) return std::nullopt;
  return mapping.range.start + (bytes > mapping.offset ? bytes - mapping.offset : 0);
}

// Mappings of one file often stand in a row: it is looked for once.
class FileCache final {
 public:
  explicit FileCache(pid_t pid) : pid_(pid) {}

  const FileFacts& Of(const Mapping& mapping) {
    if (mapping.device != device_ || mapping.inode != inode_) {
      facts_ = ReadFileFacts(pid_, mapping);
      device_ = mapping.device;
      inode_ = mapping.inode;
    }
    return facts_;
  }

 private:
  const pid_t pid_;
  std::uint64_t device_ = 0;
  std::uint64_t inode_ = 0;
  FileFacts facts_;
};

std::string ProtectionText(int protection) {
  std::string text = "---";
  if ((protection & PROT_READ) != 0) text[0] = 'r';
  if ((protection & PROT_WRITE) != 0) text[1] = 'w';
  if ((protection & PROT_EXEC) != 0) text[2] = 'x';
  return text;
}

}  // namespace

const char* ToString(PinTarget target) {
  switch (target) {
    case PinTarget::kHole:
      return "hole";
    case PinTarget::kAnonymous:
      return "anonymous";
    case PinTarget::kShmem:
      return "shared memory";
    case PinTarget::kHugetlb:
      return "hugetlb";
    case PinTarget::kFileShared:
      return "shared file";
    case PinTarget::kFilePrivate:
      return "private file";
    case PinTarget::kFsDax:
      return "FS-DAX file";
    case PinTarget::kSecretmem:
      return "secret memory";
    case PinTarget::kDevice:
      return "device memory";
    case PinTarget::kSpecial:
      return "special";
  }
  return "unknown";
}

std::string MemoryPiece::ToString() const {
  std::string text = linchpin::ToString(target);
  if (target == PinTarget::kHole) return text;
  absl::StrAppend(&text, " ", ProtectionText(mapping.protection));
  if (!mapping.name.empty()) absl::StrAppend(&text, " ", mapping.name);
  return text;
}

absl::StatusOr<std::vector<MemoryPiece>> SnapshotMemory(pid_t pid, Range range) {
  auto mappings = pid == 0 ? LookUpMappings(range)
                           : MappingReader(MappingReader::Source::kBest, pid).LookUpAll(range);
  if (!mappings.ok()) return mappings.status();
  FileCache files(pid);
  std::vector<MemoryPiece> pieces;
  for (Mapping& mapping : *mappings) {
    MemoryPiece piece;
    piece.range = {std::max(range.start, mapping.range.start),
                   std::min(range.end, mapping.range.end)};
    if (HasFile(mapping.kind)) piece.file = files.Of(mapping);
    piece.target = TargetOf(pid, mapping, piece.file);
    piece.end_of_file = EndOfFile(mapping, piece.file);
    piece.mapping = std::move(mapping);
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

}  // namespace linchpin
