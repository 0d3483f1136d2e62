#include "lib/memory/file_facts.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string_view>

#include "absl/strings/str_format.h"

#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

// A file that was found, and how to reach it.
struct Found {
  std::string path;
  struct statx status;
};

// Not opened: a device may do something when it is.
std::optional<Found> StatusOf(std::string path) {
  Found found{.path = std::move(path), .status = {}};
  const unsigned wanted = STATX_SIZE | STATX_INO | STATX_TYPE;
  if (statx(AT_FDCWD, found.path.c_str(), 0, wanted, &found.status) != 0) return std::nullopt;
  return found;
}

bool IsFileOf(const Mapping& mapping, const struct statx& status) {
  return status.stx_ino == mapping.inode &&
         makedev(status.stx_dev_major, status.stx_dev_minor) == mapping.device;
}

// By the name that maps gives it. A stacked file system shows there the device that is below, and
// btrfs one of its own, so for a name the inode is enough.
std::optional<Found> FindByName(pid_t pid, const Mapping& mapping) {
  if (!mapping.name.starts_with('/')) return std::nullopt;
  auto found = StatusOf(pid == 0 ? mapping.name : ProcPath(pid, "root") + mapping.name);
  return found && found->status.stx_ino == mapping.inode ? found : std::nullopt;
}

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

std::optional<Found> FindByDescriptor(pid_t pid, const Mapping& mapping) {
  constexpr int kDescriptorsMax = 4096;  // Beyond it the time matters more than the size.
  const std::string path = ProcPath(pid, "fd");
  const std::unique_ptr<DIR, CloseFolder> folder(opendir(path.c_str()));
  if (folder == nullptr) return std::nullopt;
  for (int i = 0; i < kDescriptorsMax; ++i) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else reads this stream.
    const dirent* const entry = readdir(folder.get());
    if (entry == nullptr) break;
    auto found = StatusOf(path + "/" + static_cast<const char*>(entry->d_name));
    if (found && IsFileOf(mapping, found->status)) return found;
  }
  return std::nullopt;
}

std::optional<Found> Find(pid_t pid, const Mapping& mapping) {
  if (auto found = FindByName(pid, mapping)) return found;
  // Deleted, or never had a name.
  auto found = StatusOf(
      ProcPath(pid, absl::StrFormat("map_files/%x-%x", mapping.range.start, mapping.range.end)));
  if (found && IsFileOf(mapping, found->status)) return found;
  return FindByDescriptor(pid, mapping);
}

struct Mount {
  std::string type;
  std::string options;
};

// A line of mountinfo: "36 35 98:0 /root /at rw,noatime master:1 - ext4 /dev/sda1 rw,dax".
std::optional<Mount> MountOf(pid_t pid, std::uint64_t device) {
  const std::string wanted = absl::StrFormat("%d:%d", major(device), minor(device));
  std::ifstream mounts(ProcPath(pid, "mountinfo"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string skipped;
    std::string id;
    if (!(fields >> skipped >> skipped >> id) || id != wanted) continue;
    while (fields >> skipped && skipped != "-") {
    }
    Mount mount;
    std::string source;
    if (fields >> mount.type >> source >> mount.options) return mount;
  }
  return std::nullopt;
}

bool HasDaxOption(const std::string& options) {
  std::istringstream list(options);
  for (std::string option; std::getline(list, option, ',');) {
    if (option == "dax" || option == "dax=always") return true;
  }
  return false;
}

}  // namespace

bool IsMemoryOnly(std::string_view file_system) {
  return file_system == "tmpfs" || file_system == "ramfs" || file_system == "devtmpfs";
}

std::string FileSystemName(const struct statfs& status) {
  switch (static_cast<std::uint32_t>(status.f_type)) {
    case 0x01021994:
      return "tmpfs";
    case 0x858458f6:
      return "ramfs";
    case 0x958458f6:
      return "hugetlbfs";
    case 0x794c7630:
      return "overlay";
    case 0x9123683e:
      return "btrfs";
    case 0x62656572:
      return "sysfs";
    default:
      return "";
  }
}

FileFacts ReadFileFacts(pid_t pid, const Mapping& mapping) {
  FileFacts facts;
  const std::optional<Mount> mount = MountOf(pid, mapping.device);
  if (mount) facts.file_system = mount->type;
  const std::optional<Found> found = Find(pid, mapping);
  if (!found) {
    facts.dax = mount && HasDaxOption(mount->options);
    return facts;
  }
  // What the mount table does not list by the device that maps shows.
  struct statfs status {};
  if (facts.file_system.empty() && statfs(found->path.c_str(), &status) == 0) {
    facts.file_system = FileSystemName(status);
  }
  if (S_ISREG(found->status.stx_mode)) facts.bytes = found->status.stx_size;
  const bool says = (found->status.stx_attributes_mask & STATX_ATTR_DAX) != 0;
  facts.dax = says ? (found->status.stx_attributes & STATX_ATTR_DAX) != 0
                   : mount && HasDaxOption(mount->options);
  return facts;
}

}  // namespace linchpin
