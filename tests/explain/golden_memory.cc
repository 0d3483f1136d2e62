#include "tests/explain/golden_memory.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "lib/base/fd.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kHuge = std::size_t{2} << 20;

Specimen At(void* address, std::size_t bytes) {
  if (address == MAP_FAILED) return Specimen::Absent(std::string("mmap: ") + std::strerror(errno));
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  return {{start, start + bytes}, ""};
}

// The mapping stays when the descriptor is closed, and to the end of the process.
Specimen Map(const Fd& fd, Shape shape) {
  return At(mmap(nullptr, kSpecimenBytes, shape.protection, shape.shared ? MAP_SHARED : MAP_PRIVATE,
                 fd.get(), 0),
            kSpecimenBytes);
}

// Writes it, so that its blocks exist.
bool Fill(const Fd& fd, std::size_t bytes) {
  const std::string zeros(bytes, '\0');
  return write(fd.get(), zeros.data(), bytes) == static_cast<ssize_t>(bytes);
}

}  // namespace

Specimen Anonymous(int protection, std::size_t bytes) {
  // Within a reservation of PROT_NONE, so that it is a mapping by itself.
  void* const reserved =
      mmap(nullptr, bytes + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) return At(reserved, bytes);
  char* const start = static_cast<char*>(reserved) + kPage;
  if (mprotect(start, bytes, protection) != 0) return Specimen::Absent("mprotect failed");
  return At(start, bytes);
}

Specimen HugeAnonymous(std::size_t bytes) {
  const std::size_t reserved_bytes = bytes + kHuge;
  void* const reserved = mmap(nullptr, reserved_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return At(reserved, bytes);
  madvise(reserved, reserved_bytes, MADV_HUGEPAGE);  // Only faster.
  return At(reserved, bytes);
}

Specimen WithHole() {
  const Specimen whole = Anonymous(PROT_READ | PROT_WRITE);
  munmap(reinterpret_cast<void*>(whole.range.start + kPage), kPage);
  return whole;
}

Specimen WithReadOnlyPage() {
  const Specimen whole = Anonymous(PROT_READ | PROT_WRITE);
  mprotect(reinterpret_cast<void*>(whole.range.start + kPage), kPage, PROT_READ);
  return whole;
}

Specimen WithGuardPage() {
  constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL.
  const Specimen whole = Anonymous(PROT_READ | PROT_WRITE);
  void* const second = reinterpret_cast<void*>(whole.range.start + kPage);
  if (madvise(second, kPage, kGuardInstall) == 0) return whole;
  return Specimen::Absent(std::string("MADV_GUARD_INSTALL: ") + std::strerror(errno));
}

Specimen Memfd(Shape shape) {
  const Fd fd(memfd_create("golden", MFD_CLOEXEC));
  if (!fd.valid() || !Fill(fd, shape.file_bytes)) return Specimen::Absent("no memfd");
  return Map(fd, shape);
}

Specimen HugetlbMemfd(int protection) {
  std::ofstream("/proc/sys/vm/nr_hugepages") << 4;
  const Fd fd(memfd_create("golden-huge", MFD_CLOEXEC | MFD_HUGETLB));
  if (!fd.valid() || ftruncate(fd.get(), kHuge) != 0) return Specimen::Absent("no hugetlb memfd");
  Specimen specimen = At(mmap(nullptr, kHuge, protection, MAP_SHARED, fd.get(), 0), kHuge);
  if (!specimen.absent.empty()) specimen.absent = "no free huge pages (vm.nr_hugepages)";
  return specimen;
}

Specimen SysvShm() {
  const int id = shmget(IPC_PRIVATE, kSpecimenBytes, S_IRUSR | S_IWUSR);
  if (id < 0) return Specimen::Absent("no SysV shared memory");
  void* const address = shmat(id, nullptr, 0);
  shmctl(id, IPC_RMID, nullptr);
  return At(address, kSpecimenBytes);
}

Specimen Secret() {
  const Fd fd(static_cast<int>(syscall(SYS_memfd_secret, 0)));
  if (!fd.valid()) return Specimen::Absent(std::string("memfd_secret: ") + std::strerror(errno));
  if (ftruncate(fd.get(), kSpecimenBytes) != 0) return Specimen::Absent("ftruncate failed");
  return Map(fd, {.protection = PROT_READ | PROT_WRITE});
}

Specimen PciBar() {
  constexpr int kBars = 6;
  std::error_code error;
  for (const auto& device : std::filesystem::directory_iterator("/sys/bus/pci/devices", error)) {
    for (int bar = 0; bar < kBars; ++bar) {
      const std::filesystem::path resource = device.path() / ("resource" + std::to_string(bar));
      const Fd fd(open(resource.c_str(), O_RDWR | O_CLOEXEC));
      if (!fd.valid()) continue;
      void* const address = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
      if (address != MAP_FAILED) return At(address, kPage);
    }
  }
  return Specimen::Absent("no PCI device whose memory can be mapped");
}

Specimen Named(const char* mapping) {
  const std::optional<Range> found = FindMapping(mapping);
  if (!found) return Specimen::Absent(std::string("no ") + mapping);
  return {*found, ""};
}

Specimen FileIn(const char* variable, Shape shape) {
  const char* const folder = *variable == '/' ? variable : std::getenv(variable);
  if (folder == nullptr) return Specimen::Absent(std::string(variable) + " is not set");
  std::string name = std::string(folder) + "/golden-XXXXXX";
  const Fd fd(mkostemp(name.data(), O_CLOEXEC));
  if (!fd.valid()) return Specimen::Absent(name + ": " + std::strerror(errno));
  const bool filled = Fill(fd, shape.file_bytes);
  if (!filled) return Specimen::Absent(name + ": cannot be written");
  // By a descriptor that may only read, as who maps it to read does; its name stays.
  if ((shape.protection & PROT_WRITE) != 0) return Map(fd, shape);
  return Map(Fd(open(name.c_str(), O_RDONLY | O_CLOEXEC)), shape);
}

}  // namespace linchpin::testing
