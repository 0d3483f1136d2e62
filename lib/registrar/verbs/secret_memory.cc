#include "lib/registrar/verbs/secret_memory.h"

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"

namespace linchpin {
namespace {

// The kernel's own name for each such mapping. A user's file of that name would be refused as well.
constexpr char kSecretName[] = "/secretmem";

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

bool IsSecretIn(Range range, const char* line) {
  Range mapping;
  int name_at = 0;
  // "start-end rwxp offset device inode   name"
  if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &mapping.start,
                  &mapping.end, &name_at) != 2 ||
      name_at == 0) {
    return false;
  }
  return mapping.Overlaps(range) &&
         std::strncmp(line + name_at, kSecretName, sizeof(kSecretName) - 1) == 0;
}

}  // namespace

absl::Status CheckNotSecret(Range range) {
  const std::unique_ptr<std::FILE, Close> maps(std::fopen("/proc/self/maps", "re"));
  if (maps == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "on-demand registration of ", range.ToString(),
        ": cannot rule out that it is secret memory (", "/proc/self/maps: ", ErrnoText(errno),
        "); mount /proc, or leave out Access::kOnDemand"));
  }
  std::unique_ptr<char, Free> line;
  std::size_t capacity = 0;
  while (true) {
    char* raw = line.release();
    const ssize_t length = getline(&raw, &capacity, maps.get());
    line.reset(raw);
    if (length < 0) return absl::OkStatus();
    if (IsSecretIn(range, line.get())) {
      return absl::FailedPreconditionError(absl::StrCat(
          "on-demand registration of ", range.ToString(),
          ": part of it is memory of memfd_secret, which no device may reach; use other "
          "memory"));
    }
  }
}

}  // namespace linchpin
