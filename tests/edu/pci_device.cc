#include "tests/edu/pci_device.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "lib/base/error.h"
#include "lib/base/fd.h"

namespace linchpin::testing {
namespace {

std::string FirstWord(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string word;
  in >> word;
  return word;
}

}  // namespace

std::vector<std::string> FindPciDevices(std::string_view vendor, std::string_view device) {
  std::vector<std::string> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/bus/pci/devices", error)) {
    if (FirstWord(entry.path() / "vendor") == vendor &&
        FirstWord(entry.path() / "device") == device) {
      folders.push_back(entry.path());
    }
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

absl::Status EnablePciDevice(const std::string& folder, bool on) {
  const std::string path = folder + "/enable";
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file.valid() || write(file.get(), on ? "1" : "0", 1) != 1) {
    return ErrnoToStatus(errno, path, "be root");
  }
  return absl::OkStatus();
}

}  // namespace linchpin::testing
