#include "apps/linchpin/process_range.h"

#include <unistd.h>

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/quantity.h"
#include "lib/memory/procmap.h"

namespace linchpin {
namespace {

absl::StatusOr<pid_t> ParsePid(const std::string& text) {
  if (text == "self") return 0;
  constexpr std::uint64_t kPidMost = std::uint64_t{1} << 22;  // PID_MAX_LIMIT.
  const auto pid = ParseCount("PID", text, {.least = 1, .most = kPidMost});
  if (!pid.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(pid.status().message(), ", or \"self\""));
  }
  if (access(ProcPath(static_cast<pid_t>(*pid), "").c_str(), F_OK) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("PID: there is no process ", *pid));
  }
  return static_cast<pid_t>(*pid) == getpid() ? 0 : static_cast<pid_t>(*pid);
}

}  // namespace

void ProcessRangeArguments::AddTo(CLI::App& app, bool required) {
  app.add_option("PID", pid, "Whose memory; or \"self\"")->required(required);
  app.add_option("ADDRESS", address, "Where it begins: 0x7f00... or decimal")->required(required);
  app.add_option("LENGTH", length, "Its bytes, with K, M or G behind or not")->required(required);
}

absl::StatusOr<ProcessRange> ProcessRangeArguments::Parse() const {
  const auto process = ParsePid(pid);
  if (!process.ok()) return process.status();
  const std::optional<std::uint64_t> start = ParseNumber(address);
  if (!start) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "ADDRESS: \"%s\" is no address; give digits, or 0x and hexadecimal ones", address));
  }
  const auto bytes = ParseSize("LENGTH", length);
  if (!bytes.ok()) return bytes.status();
  const auto range = Range::Of(reinterpret_cast<const void*>(*start), *bytes);
  if (!range.ok()) return range.status();
  return ProcessRange{*process, *range};
}

}  // namespace linchpin
