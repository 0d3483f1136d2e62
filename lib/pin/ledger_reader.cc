#include "lib/pin/ledger_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "lib/memory/proc_stat.h"
#include "lib/pin/ledger_format.h"
#include "lib/pin/ledger_records.h"

namespace linchpin::internal {
namespace {

constexpr std::size_t kLedgersMax = 8;
constexpr std::string_view kLinkText = "/memfd:linchpin-pins (deleted)";

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

std::string LinkTextOf(int directory, const char* name) {
  std::array<char, 64> text{};  // A longer one is no ledger's.
  const ssize_t length = readlinkat(directory, name, text.data(), text.size());
  return {text.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
}

// The whole of a small file in /proc/PID; empty when it cannot be read.
std::string ReadSmall(int process, const char* name) {
  const Fd fd(openat(process, name, O_RDONLY | O_CLOEXEC));
  std::string text(8192, '\0');
  const ssize_t length = fd.valid() ? read(fd.get(), text.data(), text.size()) : 0;
  text.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
  return text;
}

// Whether the process is called `pid` in one of its namespaces; it says the innermost.
bool IsCalled(int process, std::uint32_t pid) {
  const std::string status = "\n" + ReadSmall(process, "status");
  constexpr std::string_view kField = "\nNSpid:";
  const std::size_t at = status.find(kField);
  if (at == std::string::npos) return false;
  const std::size_t start = at + kField.size();
  const std::string line = status.substr(start, status.find('\n', start) - start);
  return absl::StrCat(line, "\t").find(absl::StrCat("\t", pid, "\t")) != std::string::npos;
}

// What one memfd of that name turns out to be.
enum class Finding : std::uint8_t { kLedger, kOfAnother, kOtherVersion, kDamaged };

Finding Inspect(int process, int ledger) {
  LedgerHeader header{};
  if (!ReadLedgerBytes(ledger, 0, &header, sizeof(header))) return Finding::kDamaged;
  if (header.magic != kLedgerMagic) return Finding::kDamaged;
  if (header.version != kLedgerVersion) return Finding::kOtherVersion;
  if (!IsCalled(process, header.pid)) return Finding::kOfAnother;
  const std::string stat = ReadSmall(process, "stat");
  if (StatField(stat, kStartTimeField) != absl::StrCat(header.start_time)) {
    return Finding::kOfAnother;
  }
  const bool as_we_know_it =
      header.header_bytes == kLedgerHeaderBytes && header.pin_bytes == sizeof(LedgerPinRecord) &&
      header.pins == kLedgerPins && header.file_bytes == sizeof(LedgerFileRecord) &&
      header.files == kLedgerFiles && header.cache_bytes == sizeof(LedgerCacheRecord) &&
      header.caches == kLedgerCaches;
  return as_we_know_it ? Finding::kLedger : Finding::kDamaged;
}

// Opens descriptor `name` of /proc/PID/fd if it is a memfd of the ledger's name and size. What it
// is is looked at before it is opened: opening, or reading, something else might never return.
Fd OpenIfLedger(int descriptors, const char* name) {
  if (LinkTextOf(descriptors, name) != kLinkText) return Fd();
  const Fd place(openat(descriptors, name, O_PATH | O_CLOEXEC));
  const std::string path = absl::StrCat("/proc/self/fd/", place.get());
  struct stat status {};
  const bool is_file = place.valid() && fstat(place.get(), &status) == 0 &&
                       S_ISREG(status.st_mode) && status.st_size >= off_t{kLedgerBytes} &&
                       LinkTextOf(AT_FDCWD, path.c_str()) == kLinkText;
  if (!is_file) return Fd();
  Fd ledger(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!ledger.valid()) ledger.Reset(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  // Only files in memory have seals.
  const int seals = ledger.valid() ? fcntl(ledger.get(), F_GET_SEALS) : -1;
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 ? std::move(ledger) : Fd();
}

absl::Status Refusal(pid_t pid, int error) {
  if (error == ENOENT || error == ESRCH) {
    return absl::NotFoundError(absl::StrCat("there is no process ", pid));
  }
  const std::string what = absl::StrCat("process ", pid, ": its descriptors cannot be read");
  if (error != EACCES && error != EPERM) return ErrnoToStatus(error, what, "try again");
  return absl::PermissionDeniedError(
      absl::StrCat(what, ": ", ErrnoText(error), "; run as its user, or as root"));
}

absl::Status NoLedger(pid_t pid, Finding worst) {
  switch (worst) {
    case Finding::kOtherVersion:
      return absl::UnimplementedError(
          absl::StrCat("process ", pid, ": its ledger is of another version than ", kLedgerVersion,
                       "; use the tool that came with its library"));
    case Finding::kDamaged:
      return absl::DataLossError(
          absl::StrCat("process ", pid, ": its ledger has been written over by another process"));
    case Finding::kLedger:
    case Finding::kOfAnother:
      break;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("process ", pid, " has no ledger: it does not use Linchpin, or not yet"));
}

std::optional<ListedPin> ToPin(const LedgerPinRecord& record) {
  const bool makes_sense = record.start < record.end &&
                           record.kind <= static_cast<std::uint32_t>(PinKind::kFrameOnly) &&
                           (record.rights & ~static_cast<std::uint32_t>(kKnownAccess)) == 0;
  if (!makes_sense) return std::nullopt;
  return ListedPin{.range = {record.start, record.end},
                   .kind = static_cast<PinKind>(record.kind),
                   .rights = static_cast<Access>(record.rights),
                   .device = std::string(LedgerTextOf(record.device)),
                   .file_device = record.file_device,
                   .file_inode = record.file_inode,
                   .file = {},
                   .owner = record.owner,
                   .owner_name = std::string(LedgerTextOf(record.owner_name)),
                   .leases = record.leases,
                   .runs = record.runs,
                   .pinned_at_ns = record.pinned_at_ns};
}

ListedCache ToCache(std::uint32_t id, const LedgerCacheRecord& record) {
  ListedCache cache{.id = id,
                    .device = std::string(LedgerTextOf(record.device)),
                    .created_at_ns = record.created_at_ns,
                    .published_at_ns = record.published_at_ns,
                    .stats = {}};
  std::memcpy(static_cast<void*>(&cache.stats), record.counters.data(), sizeof(cache.stats));
  return cache;
}

// Adds what one ledger holds; its caches have numbers from `first_cache` + 1.
void ReadInto(int ledger, std::uint32_t first_cache, bool caches_only, LedgerContents& contents) {
  LedgerHeader header{};
  ReadLedgerBytes(ledger, 0, &header, sizeof(header));
  const auto add = [&contents](LedgerLosses losses) {
    contents.busy += losses.busy;
    contents.damaged += losses.damaged;
  };
  add(VisitLedgerRecords<LedgerCacheRecord>(
      ledger, kLedgerCachesAt, std::min(header.caches_used, kLedgerCaches),
      [&](std::uint32_t number, const LedgerCacheRecord& record) {
        contents.caches.push_back(ToCache(first_cache + number, record));
      }));
  if (caches_only) return;
  const std::size_t first = contents.pins.size();
  add(VisitLedgerRecords<LedgerPinRecord>(ledger, kLedgerPinsAt,
                                          std::min(header.pins_used, kLedgerPins),
                                          [&](std::uint32_t, const LedgerPinRecord& record) {
                                            std::optional<ListedPin> pin = ToPin(record);
                                            if (!pin) ++contents.damaged;
                                            if (pin) contents.pins.push_back(*std::move(pin));
                                          }));
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> paths;
  add(VisitLedgerRecords<LedgerFileRecord>(
      ledger, kLedgerFilesAt, std::min(header.files_used, kLedgerFiles),
      [&](std::uint32_t, const LedgerFileRecord& record) {
        paths[{record.device, record.inode}] = std::string(LedgerTextOf(record.path));
      }));
  for (std::size_t i = first; i < contents.pins.size(); ++i) {
    ListedPin& pin = contents.pins[i];
    const auto path = paths.find({pin.file_device, pin.file_inode});
    if (path != paths.end()) pin.file = path->second;
  }
  contents.unlisted_pins += header.unlisted_pins;
  contents.unlisted_bytes += header.unlisted_bytes;
  contents.unlisted_caches += header.unlisted_caches;
}

}  // namespace

absl::StatusOr<LedgerReader> LedgerReader::Open(pid_t pid) {
  const std::string path = absl::StrCat("/proc/", pid);
  Fd process(open(path.c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
  if (!process.valid()) return Refusal(pid, errno);
  Fd listing(openat(process.get(), "fd", O_DIRECTORY | O_RDONLY | O_CLOEXEC));
  if (!listing.valid()) return Refusal(pid, errno);
  const Directory directory(fdopendir(listing.get()));
  if (directory == nullptr) return Refusal(pid, errno);
  const int descriptors = listing.Release();  // The directory's.

  std::vector<Fd> ledgers;
  auto worst = Finding::kOfAnother;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this stream.
  while (const dirent* const entry = readdir(directory.get())) {
    Fd ledger = OpenIfLedger(descriptors, entry->d_name);
    if (!ledger.valid()) continue;
    const Finding finding = Inspect(process.get(), ledger.get());
    if (finding == Finding::kLedger && ledgers.size() < kLedgersMax) {
      ledgers.push_back(std::move(ledger));
    }
    worst = std::max(worst, finding);
  }
  if (ledgers.empty()) return NoLedger(pid, worst);
  return LedgerReader(std::move(process), std::move(ledgers));
}

LedgerContents LedgerReader::Read() const {
  LedgerContents contents;
  for (std::size_t i = 0; i < ledgers_.size(); ++i) {
    ReadInto(ledgers_[i].get(), static_cast<std::uint32_t>(i) * kLedgerCaches, false, contents);
  }
  return contents;
}

std::vector<ListedCache> LedgerReader::ReadCaches() const {
  LedgerContents contents;
  for (std::size_t i = 0; i < ledgers_.size(); ++i) {
    ReadInto(ledgers_[i].get(), static_cast<std::uint32_t>(i) * kLedgerCaches, true, contents);
  }
  return std::move(contents.caches);
}

bool LedgerReader::Want() const {
  // Unlike what it was, whoever else asks at the same time: nanoseconds, cut.
  const auto word = static_cast<std::uint32_t>(LedgerNowNs());
  bool asked = true;
  for (const Fd& ledger : ledgers_) {
    LedgerHeader header{};
    ReadLedgerBytes(ledger.get(), 0, &header, sizeof(header));
    const std::uint32_t caches = std::min(header.caches_used, kLedgerCaches);
    for (std::uint32_t i = 0; i < caches; ++i) {
      const std::size_t at =
          kLedgerCachesAt + i * sizeof(LedgerCacheRecord) + offsetof(LedgerCacheRecord, wanted);
      const ssize_t written = pwrite(ledger.get(), &word, sizeof(word), static_cast<off_t>(at));
      asked = asked && written == sizeof(word);
    }
  }
  return asked;
}

char LedgerReader::ProcessState() const {
  constexpr int kStateField = 3;
  const std::string stat = ReadSmall(process_.get(), "stat");
  const std::string_view state = StatField(stat, kStateField);
  return state.empty() ? '\0' : state.front();
}

}  // namespace linchpin::internal
