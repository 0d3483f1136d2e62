#include "tests/edu/peer_memory.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/fd.h"
#include "tests/edu/pci_device.h"

namespace linchpin::testing {
namespace {

// The device's memory is its third region (QEMU's docs/specs/ivshmem-spec).
constexpr int kRegion = 2;

// Of sysfs' resource file, which has a line a region: first address, last address, flags.
absl::StatusOr<BusRange> RegionOf(const std::string& folder) {
  std::ifstream in(folder + "/resource");
  std::string first;
  std::string last;
  std::string flags;
  for (int line = 0; line <= kRegion; ++line) in >> first >> last >> flags;
  const std::uint64_t start = std::strtoull(first.c_str(), nullptr, 16);
  const std::uint64_t end = std::strtoull(last.c_str(), nullptr, 16);
  if (start == 0 || end <= start) {
    return absl::UnavailableError(absl::StrCat(folder, " has no memory at a bus address"));
  }
  return BusRange{start, end - start + 1};
}

}  // namespace

absl::StatusOr<std::unique_ptr<PeerMemory>> PeerMemory::Open(OwnedFrames& owned) {
  const std::vector<std::string> folders = FindPciDevices("0x1af4", "0x1110");
  if (folders.empty()) {
    return absl::NotFoundError("no ivshmem device (PCI 1af4:1110); use tools/rxe-vm --edu 24");
  }
  auto bus = RegionOf(folders.front());
  if (!bus.ok()) return bus.status();
  if (absl::Status on = EnablePciDevice(folders.front(), true); !on.ok()) return on;
  std::unique_ptr<PeerMemory> peer(new PeerMemory(folders.front(), owned));
  peer->bus_ = *bus;
  if (absl::Status mapped = peer->Map(); !mapped.ok()) return mapped;
  peer->frames_ = owned.AddDevice(*bus);
  return peer;
}

absl::Status PeerMemory::Map() {
  const std::string path = absl::StrCat(folder_, "/resource", kRegion);
  const Fd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!file.valid()) return ErrnoToStatus(errno, path, "be root");
  void* mapped = mmap(nullptr, bus_.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return ErrnoToStatus(errno, path, "be root");
  data_ = static_cast<std::byte*>(mapped);
  return absl::OkStatus();
}

PeerMemory::~PeerMemory() {
  owned_.Remove(frames_);
  if (data_ != nullptr) munmap(data_, bus_.bytes);
  static_cast<void>(EnablePciDevice(folder_, false));
}

}  // namespace linchpin::testing
