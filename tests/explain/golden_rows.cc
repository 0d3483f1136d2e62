#include "tests/explain/golden_rows.h"

#include <sys/mman.h>

namespace linchpin::testing {
namespace {

using enum Answer;

constexpr Answers kAllOk{kOk, kOk, kOk};
constexpr Answers kAllEfault{kEfault, kEfault, kEfault};
constexpr Answers kAllEinval{kEinval, kEinval, kEinval};
constexpr Answers kOnDemandOnly72{kEopnotsupp, kEopnotsupp, kOk};

constexpr Access kRead = Access::kLocalRead;
constexpr Access kWrite = Access::kLocalWrite;
constexpr Access kRemoteRead = Access::kRemoteRead;
constexpr Access kOnDemand = Access::kOnDemand;
constexpr int kRw = PROT_READ | PROT_WRITE;
constexpr const char* kExt4 = "LINCHPIN_TEST_EXT4";
constexpr const char* kDax = "LINCHPIN_TEST_DAX";
constexpr std::size_t kPage = 4096;

char bss[16 * kPage];
const char kReadOnlyData[] = "read-only data";

Specimen Of(const void* address, std::size_t bytes) {
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  return {{start, start + bytes}, ""};
}

Specimen Stack() {
  static char* const somewhere = static_cast<char*>(__builtin_frame_address(0));
  return Of(somewhere - 64, 64);
}

Specimen Unaligned() {
  Specimen specimen = Anonymous(kRw);
  specimen.range.start += 100;
  specimen.range.end -= 17;
  return specimen;
}

}  // namespace

std::vector<Row> AnonymousRows() {
  return {
      {"anonymous rw", kWrite, [] { return Anonymous(kRw); }, kAllOk},
      {"anonymous rw, unaligned", kWrite, Unaligned, kAllOk},
      {"bss", kWrite, [] { return Of(bss, sizeof(bss)); }, kAllOk},
      {"stack", kWrite, Stack, kAllOk},
      {"anonymous rw", Access::kRemoteWrite, [] { return Anonymous(kRw); }, kAllEinval},
      {"no bytes", kWrite, [] { return Of(bss, 0); }, kAllEinval},
      {"anonymous r", kRead, [] { return Anonymous(PROT_READ); }, kAllOk},
      {"anonymous r", kRemoteRead, [] { return Anonymous(PROT_READ); }, kAllOk},
      {"anonymous r", kWrite, [] { return Anonymous(PROT_READ); }, kAllEfault},
      {"anonymous r", Access::kMwBind, [] { return Anonymous(PROT_READ); }, kAllEfault},
      {"anonymous -", kRead, [] { return Anonymous(PROT_NONE); }, {kOk, kEfault, kEfault}},
      {"anonymous w", kRead, [] { return Anonymous(PROT_WRITE); }, {kOk, kEfault, kEfault}},
      {"a hole in it", kWrite, WithHole, kAllEfault},
      {"a read-only page in it", kWrite, WithReadOnlyPage, kAllEfault},
      {"a read-only page in it", kRead, WithReadOnlyPage, kAllOk},
      {"a guard page in it", kWrite, WithGuardPage, kAllEfault},
      {".text", kRead, [] { return Of(reinterpret_cast<const void*>(&AnonymousRows), 16); },
       kAllOk},
      {".rodata", kRead, [] { return Of(kReadOnlyData, sizeof(kReadOnlyData)); }, kAllOk},
  };
}

std::vector<Row> SharedMemoryRows() {
  return {
      {"memfd shared rw", kWrite, [] { return Memfd({.protection = kRw}); }, kAllOk},
      {"memfd shared r",
       kRemoteRead,
       [] { return Memfd({.protection = PROT_READ}); },
       {kEfault, kOk, kOk}},
      {"memfd private rw", kWrite, [] { return Memfd({.protection = kRw, .shared = false}); },
       kAllOk},
      {"memfd, behind its end", kWrite,
       [] { return Memfd({.protection = kRw, .file_bytes = kPage + 1}); }, kAllEfault},
      {"tmpfs shared rw", kWrite, [] { return FileIn("/dev/shm", {.protection = kRw}); }, kAllOk},
      {"tmpfs shared r",
       kRemoteRead,
       [] { return FileIn("/dev/shm", {.protection = PROT_READ}); },
       {kEfault, kOk, kOk}},
      {"hugetlb memfd shared rw", kWrite, [] { return HugetlbMemfd(kRw); }, kAllOk},
      {"hugetlb memfd shared r",
       kRead,
       [] { return HugetlbMemfd(PROT_READ); },
       {kEfault, kOk, kOk}},
      {"SysV shm", kWrite, SysvShm, kAllOk},
      {"overlay on tmpfs shared rw", kWrite, [] { return FileIn("/var/tmp", {.protection = kRw}); },
       kAllOk, Sure::kNotNecessarily},
  };
}

std::vector<Row> FileRows() {
  const Shape shared{.protection = kRw};
  const Shape shared_r{.protection = PROT_READ};
  const Shape private_rw{.protection = kRw, .shared = false};
  const Shape private_r{.protection = PROT_READ, .shared = false};
  const auto ext4 = [](Shape shape) { return [shape] { return FileIn(kExt4, shape); }; };
  const auto dax = [](Shape shape) { return [shape] { return FileIn(kDax, shape); }; };
  constexpr Answers kNever{kEopnotsupp, kEopnotsupp, kEopnotsupp};
  return {
      {"ext4 shared rw", kWrite, ext4(shared), {kOk, kEfault, kEfault}},
      {"ext4 shared rw", kRemoteRead, ext4(shared), kAllOk},
      {"ext4 shared rw", kWrite | kOnDemand, ext4(shared), kOnDemandOnly72},
      {"ext4 shared r", kRemoteRead, ext4(shared_r), {kEfault, kOk, kOk}},
      {"ext4 shared r", kWrite, ext4(shared_r), kAllEfault},
      {"ext4 private rw", kWrite, ext4(private_rw), kAllOk},
      {"ext4 private r", kRemoteRead, ext4(private_r), kAllOk},
      {"ext4, behind its end", kRead, ext4({.protection = kRw, .file_bytes = kPage}), kAllEfault},
      {"ext4 private, behind its end", kWrite,
       ext4({.protection = kRw, .shared = false, .file_bytes = kPage}), kAllEfault},
      {"FS-DAX shared rw", kWrite, dax(shared), kNever},
      {"FS-DAX shared rw", kRead, dax(shared), kNever},
      {"FS-DAX private rw", kWrite, dax(private_rw), kNever},
      {"FS-DAX shared rw", kWrite | kOnDemand, dax(shared), kOnDemandOnly72},
  };
}

std::vector<Row> OtherRows() {
  constexpr rlim_t kLittle = rlim_t{2} * kPage;
  constexpr std::size_t kGigabyte = std::size_t{1} << 30;
  return {
      {"memfd_secret", kWrite, Secret, kAllEfault},
      // The first access would oops: no kernel is asked.
      {"memfd_secret", kWrite | kOnDemand, Secret, {kEopnotsupp, kEopnotsupp, kEfault}},
      {"PCI BAR", kWrite, PciBar, kAllEfault},
      {"[vvar]", kRead, [] { return Named("[vvar]"); }, kAllEfault},
      {"[vdso]", kRead, [] { return Named("[vdso]"); }, kAllOk, Sure::kNotNecessarily},
      {"on demand, a hole in it", kWrite | kOnDemand, WithHole, kOnDemandOnly72},
      {"on demand, anonymous r", kWrite | kOnDemand, [] { return Anonymous(PROT_READ); },
       kOnDemandOnly72},
      {"over RLIMIT_MEMLOCK",
       kWrite,
       [] { return Anonymous(kRw); },
       {kEnomem, kEnomem, kEnomem},
       Sure::kYes,
       kLittle},
      {"RLIMIT_MEMLOCK 0",
       kWrite,
       [] { return Anonymous(kRw); },
       {kEperm, kEperm, kEperm},
       Sure::kYes,
       0},
      {"over RLIMIT_MEMLOCK, and a hole",
       kWrite,
       WithHole,
       {kEnomem, kEnomem, kEnomem},
       Sure::kYes,
       kLittle},
      {"1 GiB and a page",
       kWrite,
       [] { return HugeAnonymous(kGigabyte + kPage); },
       {kOk, kOk, kEnomem},
       Sure::kNotNecessarily},
  };
}

}  // namespace linchpin::testing
