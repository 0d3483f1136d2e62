#include "apps/linchpin/pins/survey.h"

#include <charconv>
#include <chrono>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "apps/linchpin/proc_file.h"
#include "apps/linchpin/refresh.h"

namespace linchpin {
namespace {

using internal::LedgerReader;

// Caches look about once a second whether somebody asks.
constexpr std::chrono::milliseconds kPatience{1200};

std::string CommandOf(pid_t pid) {
  return ReadLine(absl::StrCat("/proc/", pid, "/comm")).value_or("");
}

std::uint64_t VmPinOf(pid_t pid) {
  return ReadFieldBytes(absl::StrCat("/proc/", pid, "/status"), "VmPin").value_or(0);
}

std::vector<pid_t> AllProcesses() {
  std::vector<pid_t> pids;
  std::error_code error;
  for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    pid_t pid = 0;
    const auto [stopped, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong == std::errc() && *stopped == '\0' && pid > 0) pids.push_back(pid);
  }
  return pids;
}

// What is to be said of a process whose ledger cannot be read; nothing if it has pinned nothing.
std::optional<OtherProcess> Other(pid_t pid, const absl::Status& status) {
  OtherProcess other{.pid = pid,
                     .command = CommandOf(pid),
                     .vm_pin_bytes = VmPinOf(pid),
                     .reason = std::string(status.message())};
  switch (status.code()) {
    case absl::StatusCode::kNotFound:  // It has ended meanwhile.
      return std::nullopt;
    case absl::StatusCode::kFailedPrecondition:
      other.reason = "pins not by Linchpin";
      break;
    case absl::StatusCode::kPermissionDenied:
      other.reason = "may not be read";
      break;
    default:  // A ledger is there.
      return other;
  }
  return other.vm_pin_bytes == 0 ? std::nullopt : std::optional(std::move(other));
}

}  // namespace

absl::StatusOr<Survey> MakeSurvey(std::optional<pid_t> only) {
  Survey survey;
  std::vector<LedgerReader> readers;
  for (const pid_t pid : only ? std::vector{*only} : AllProcesses()) {
    absl::StatusOr<LedgerReader> reader = LedgerReader::Open(pid);
    if (!reader.ok() && only) return reader.status();
    if (reader.ok()) {
      survey.processes.push_back({.pid = pid, .command = CommandOf(pid), .contents = {}});
      readers.push_back(*std::move(reader));
    } else if (std::optional<OtherProcess> other = Other(pid, reader.status()); other) {
      survey.others.push_back(*std::move(other));
    }
  }
  const std::vector<bool> fresh = Refresh(readers, kPatience);
  for (std::size_t i = 0; i < readers.size(); ++i) {
    PinningProcess& process = survey.processes[i];
    process.contents = readers[i].Read();
    process.vm_pin_bytes = VmPinOf(process.pid);
    process.fresh = fresh[i];
  }
  survey.rdma = AskRdmaTool();
  if (only) std::erase_if(survey.rdma.mrs, [&](const KernelMr& mr) { return mr.pid != *only; });
  return survey;
}

}  // namespace linchpin
