#include "lib/explain/kernel_traits.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "lib/base/fd.h"
#include "lib/base/mutex.h"
#include "lib/memory/file_facts.h"
#include "lib/memory/mapping.h"
#include "linchpin/loopback.h"

namespace linchpin::internal {
namespace {

// A page of our own, of a file or anonymous.
class Page final {
 public:
  explicit Page(int protection)
      : address_(mmap(nullptr, BasePageSize(), protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  Page(int protection, int file)
      : address_(mmap(nullptr, BasePageSize(), protection, MAP_SHARED, file, 0)) {}
  ~Page() {
    if (mapped()) munmap(address_, BasePageSize());
  }
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;

  bool mapped() const { return address_ != MAP_FAILED; }
  Range range() const {
    const auto start = reinterpret_cast<std::uintptr_t>(address_);
    return {start, start + BasePageSize()};
  }

 private:
  void* const address_;
};

// Whether `page` can be registered: kNo for EFAULT, unknown for what has nothing to do with it.
Trait Registers(Registrar& registrar, const Page& page, Access access) {
  if (!page.mapped()) return Trait::kUnknown;
  auto registration = registrar.Register(page.range(), access);
  if (absl::IsFailedPrecondition(registration.status())) return Trait::kNo;
  if (!registration.ok()) return Trait::kUnknown;
  return registrar.Deregister(*registration).ok() ? Trait::kYes : Trait::kUnknown;
}

// Whether there is one that can be registered in any case, so that a refusal means what is asked.
bool Works(Registrar& registrar) {
  return Registers(registrar, Page(PROT_READ | PROT_WRITE), Access::kLocalWrite) == Trait::kYes;
}

// A page of memory that nobody may touch: only who forces a write may have it.
Trait ReadsForceWrites(Registrar& registrar) {
  if (registrar.limits().pins_for_writing || !Works(registrar)) return Trait::kUnknown;
  return Registers(registrar, Page(PROT_NONE), Access::kLocalRead);
}

// What is below an overlay is not known.
bool IsWrittenBack(int file) {
  struct statfs status {};
  if (fstatfs(file, &status) != 0) return false;
  const std::string name = FileSystemName(status);
  return !IsMemoryOnly(name) && name != "hugetlbfs" && name != "overlay";
}

// A file without a name, of one page, which exists on the disk: a full one would look like a
// refusal.
Fd NamelessFile(const std::string& folder) {
  Fd file(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!file.valid() || !IsWrittenBack(file.get())) return Fd();
  const std::vector<char> zeros(BasePageSize());
  const ssize_t written = pwrite(file.get(), zeros.data(), zeros.size(), 0);
  return written == static_cast<ssize_t>(zeros.size()) ? std::move(file) : Fd();
}

Trait PinsFilesForWriting(Registrar& registrar, const std::string& file_folder) {
  if (!Works(registrar)) return Trait::kUnknown;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody here changes the environment.
  const char* const chosen = std::getenv("TMPDIR");
  for (const std::string& folder : {std::string(chosen != nullptr ? chosen : ""),
                                    std::string("/var/tmp"), std::string("/tmp"), file_folder}) {
    if (folder.empty()) continue;
    const Fd file = NamelessFile(folder);
    if (!file.valid()) continue;
    const Page page(PROT_READ | PROT_WRITE, file.get());
    const Trait answer = Registers(registrar, page, Access::kLocalWrite);
    if (answer != Trait::kUnknown) return answer;
  }
  return Trait::kUnknown;
}

Trait PinsFilesForWritingByIoUring(const std::string& file_folder) {
  const auto device = LoopbackDevice::Create();
  return device.ok() ? PinsFilesForWriting(**device, file_folder) : Trait::kUnknown;
}

// What was found out, by the registrar's name: those of one name are devices of one kernel. Never
// destroyed: explanations are asked for at the very end too.
struct Known {
  Mutex mutex;  // Held for look-ups only; two threads may probe at once, and find the same.
  std::map<std::string, KernelTraits> traits ABSL_GUARDED_BY(mutex);
};

Known& KnownTraits() {
  static auto* const known = new Known;
  return *known;
}

}  // namespace

KernelTraits ProbeKernelTraits(Registrar* registrar, const std::string& file_folder) {
  const std::string name = registrar != nullptr ? registrar->name() : "";
  Known& known = KnownTraits();
  KernelTraits traits;
  {
    const MutexLock lock(known.mutex);
    traits = known.traits[name];
  }
  if (traits.reads_force_writes == Trait::kUnknown && registrar != nullptr) {
    traits.reads_force_writes = ReadsForceWrites(*registrar);
  }
  if (traits.pins_files_for_writing == Trait::kUnknown) {
    traits.pins_files_for_writing = registrar != nullptr
                                        ? PinsFilesForWriting(*registrar, file_folder)
                                        : PinsFilesForWritingByIoUring(file_folder);
  }
  const MutexLock lock(known.mutex);
  known.traits[name] = traits;
  return traits;
}

}  // namespace linchpin::internal
