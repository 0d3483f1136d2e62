#include "lib/memory/procmap.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/base/fork_closed_fd.h"
#include "lib/base/mutex.h"
#include "lib/base/process.h"
#include "lib/memory/maps_text.h"
#include "lib/memory/procmap_query.h"
#include "lib/memory/smaps.h"

namespace linchpin {
namespace {

constexpr const char* kRemedy = "mount /proc, and raise RLIMIT_NOFILE (ulimit -n) if it is full";
// Who may not look at a process may not trace it either.
constexpr const char* kForbiddenRemedy = "be the user of that process, or root";

// Asks for the mapping that contains `address`, or the next one.
// Returns: 0 or an errno value: ENOENT when there is neither, ENOTTY without PROCMAP_QUERY.
int AskOnce(int fd, std::uintptr_t address, ProcmapQuery* query, char* name, std::uint32_t room) {
  *query = {};
  query->size = sizeof *query;
  query->query_flags = kProcmapCoveringOrNext;
  query->query_addr = address;
  query->vma_name_addr = reinterpret_cast<std::uintptr_t>(name);
  query->vma_name_size = room;
  return ioctl(fd, kProcmapQuery, query) == 0 ? 0 : errno;
}

Mapping ToMapping(const ProcmapQuery& query, const char* name) {
  Mapping mapping;
  mapping.range = {query.vma_start, query.vma_end};
  if ((query.vma_flags & kProcmapReadable) != 0) mapping.protection |= PROT_READ;
  if ((query.vma_flags & kProcmapWritable) != 0) mapping.protection |= PROT_WRITE;
  if ((query.vma_flags & kProcmapExecutable) != 0) mapping.protection |= PROT_EXEC;
  mapping.shared = (query.vma_flags & kProcmapShared) != 0;
  mapping.page_size = query.vma_page_size;
  mapping.device = makedev(query.dev_major, query.dev_minor);
  mapping.inode = query.inode;
  mapping.offset = query.vma_offset;
  if (query.vma_name_size > 1) mapping.name.assign(name, query.vma_name_size - 1);
  mapping.kind = Classify(mapping);
  return mapping;
}

// Returns: 0 or an errno value, like AskOnce. Few names need the large buffer, and the kernel
// allocates as much as it is offered.
int Ask(int fd, std::uintptr_t address, Mapping* mapping) {
  ProcmapQuery query{};
  std::array<char, 256> name{};
  int error = AskOnce(fd, address, &query, name.data(), name.size());
  if (error == 0) *mapping = ToMapping(query, name.data());
  if (error != ENAMETOOLONG) return error;
  const auto long_name = std::make_unique<std::array<char, PATH_MAX>>();
  error = AskOnce(fd, address, &query, long_name->data(), PATH_MAX);
  if (error == 0) *mapping = ToMapping(query, long_name->data());
  return error;
}

Mapping Hole(std::uintptr_t start, std::uintptr_t end) {
  Mapping hole;
  hole.range = {start, end};
  hole.page_size = BasePageSize();
  return hole;
}

// Takes mappings in ascending order and keeps those of `range`, with the holes between them.
class Collector final {
 public:
  explicit Collector(Range range)
      : range_(range), next_(range.start - range.start % BasePageSize()) {}

  // Where the next mapping is to be looked for.
  std::uintptr_t next() const { return next_; }
  bool complete() const { return next_ >= range_.end; }

  void Add(Mapping mapping) {
    if (complete() || mapping.range.end <= next_) return;
    if (mapping.range.start > next_) {
      mappings_.push_back(Hole(next_, mapping.range.start));
      next_ = mapping.range.start;
      if (complete()) return;
    }
    next_ = mapping.range.end;
    mappings_.push_back(std::move(mapping));
  }

  std::vector<Mapping> Finish() {
    if (!complete()) mappings_.push_back(Hole(next_, UINTPTR_MAX));
    return std::move(mappings_);
  }

 private:
  const Range range_;
  std::uintptr_t next_;  // All of the range before it is collected.
  std::vector<Mapping> mappings_;
};

// Whether only smaps can tell: every huge page is at least this large, and so are its mapping's
// borders aligned, and its file's offset.
bool CouldBeHugetlb(const Mapping& mapping) {
  constexpr std::uint64_t kSmallestHugePage = std::uint64_t{64} * 1024;
  return mapping.inode != 0 &&
         (mapping.range.start | mapping.range.end | mapping.offset) % kSmallestHugePage == 0;
}

}  // namespace

struct MappingReader::Open {
  std::uint64_t cookie = 0;
  ForkClosedFd fd;
  bool has_query = false;
  // One reader at a time through one open file: see MapsText. Held across read(), never taken by
  // the monitor's reader.
  Mutex mutex;
  MapsText text ABSL_GUARDED_BY(mutex);
  std::unique_ptr<Open> previous;
};

MappingReader::~MappingReader() {
  delete open_.load();
}

absl::StatusOr<MappingReader::Open*> MappingReader::Current() {
  Open* open = open_.load(std::memory_order_acquire);  // Pairs with Reopen.
  if (open != nullptr && open->cookie == ProcessCookie()) return open;
  return Reopen(open);
}

absl::StatusOr<MappingReader::Open*> MappingReader::Reopen(Open* old) {
  auto made = std::make_unique<Open>();
  made->cookie = ProcessCookie();
  const std::string path = ProcPath(pid_, "maps");
  made->fd = ForkClosedFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!made->fd.valid()) {
    const bool forbidden = errno == EACCES || errno == EPERM;
    return ErrnoToStatus(errno, "opening " + path, forbidden ? kForbiddenRemedy : kRemedy);
  }
  ProcmapQuery query{};
  made->has_query = source_ == Source::kBest && AskOnce(made->fd.get(), 0, &query, nullptr, 0) == 0;
  if (!open_.compare_exchange_strong(old, made.get(), std::memory_order_acq_rel)) return old;
  made->previous.reset(old);
  return made.release();
}

absl::StatusOr<std::vector<Mapping>> MappingReader::Query(const Open& open, Range range) {
  Collector collector(range);
  while (!collector.complete()) {
    Mapping mapping;
    const int error = Ask(open.fd.get(), collector.next(), &mapping);
    if (error == ENOENT) break;
    if (error != 0) return ErrnoToStatus(error, "PROCMAP_QUERY", kRemedy);
    collector.Add(std::move(mapping));
  }
  return collector.Finish();
}

absl::StatusOr<std::vector<Mapping>> MappingReader::ReadText(Open& open, Range range) const {
  Collector collector(range);
  {
    const MutexLock lock(open.mutex);
    open.text.Rewind(open.fd.get());
    while (!collector.complete()) {
      const auto line = open.text.NextLine();
      if (!line.ok()) return line.status();
      if (!line->has_value()) break;
      if (auto mapping = ParseMapsLine(**line)) collector.Add(*std::move(mapping));
    }
  }
  std::vector<Mapping> mappings = collector.Finish();
  for (Mapping& mapping : mappings) {
    if (!CouldBeHugetlb(mapping)) continue;
    if (const auto details = ReadSmaps(pid_, mapping.range)) mapping.page_size = details->page_size;
    mapping.kind = Classify(mapping);
  }
  return mappings;
}

absl::StatusOr<std::vector<Mapping>> MappingReader::LookUpAll(Range range) {
  const auto read = [this, range](Open& open) {
    return open.has_query ? Query(open, range) : ReadText(open, range);
  };
  const auto open = Current();
  if (!open.ok()) return open.status();
  auto mappings = read(**open);
  if (mappings.ok()) return mappings;
  // The application may have closed all descriptors, ours too.
  const auto fresh = Reopen(*open);
  if (!fresh.ok()) return fresh.status();
  return read(**fresh);
}

absl::StatusOr<Mapping> MappingReader::LookUp(std::uintptr_t address) {
  auto mappings = LookUpAll({address, address + 1});
  if (!mappings.ok()) return mappings.status();
  return std::move(mappings->front());
}

namespace {

// Never destroyed: a monitor may outlive the statics of this file.
MappingReader& OfProcess() {
  static auto* const reader = new MappingReader(MappingReader::Source::kBest);
  return *reader;
}

}  // namespace

std::string ProcPath(pid_t pid, std::string_view file) {
  const absl::string_view name(file.data(), file.size());
  return pid == 0 ? absl::StrCat("/proc/self/", name) : absl::StrCat("/proc/", pid, "/", name);
}

absl::StatusOr<Mapping> LookUpMapping(std::uintptr_t address) {
  return OfProcess().LookUp(address);
}

absl::StatusOr<std::vector<Mapping>> LookUpMappings(Range range) {
  return OfProcess().LookUpAll(range);
}

}  // namespace linchpin
