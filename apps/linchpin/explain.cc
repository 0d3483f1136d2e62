// linchpin explain: why memory of a running process could not be registered, or could be.
#include "lib/explain/explain.h"

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

#include "apps/linchpin/printable.h"
#include "apps/linchpin/process_range.h"
#include "apps/linchpin/quantity.h"
#include "apps/linchpin/report.h"
#include "apps/linchpin/subcommand.h"
#include "apps/transport/transport.h"
#include "lib/memory/pin_limits.h"
#include "lib/memory/procmap.h"
#include "nlohmann/json.hpp"

namespace linchpin {
namespace {

struct Arguments {
  ProcessRangeArguments where;
  std::string rights;
  std::string kind = "longterm";
  std::string device;
  bool json = false;
};

struct NamedRight {
  const char* name;
  const char* short_name;
  Access right;
};
constexpr NamedRight kRights[] = {
    {"LocalRead", "lr", Access::kLocalRead},
    {"LocalWrite", "lw", Access::kLocalWrite},
    {"RemoteWrite", "rw", Access::kRemoteWrite},
    {"RemoteRead", "rr", Access::kRemoteRead},
    {"RemoteAtomic", "ra", Access::kRemoteAtomic},
    {"MwBind", "mw", Access::kMwBind},
    {"OnDemand", "od", Access::kOnDemand},
    {"RelaxedOrdering", "rlx", Access::kRelaxedOrdering},
};

constexpr std::pair<const char*, PinKind> kKinds[] = {
    {"transient", PinKind::kTransient},
    {"longterm", PinKind::kLongterm},
    {"on-demand", PinKind::kOnDemand},
    {"frame-only", PinKind::kFrameOnly},
};

// "LocalWrite|RemoteRead", "lw,rr" or "0x5".
absl::StatusOr<Access> ParseRights(const std::string& text) {
  if (const auto number = ParseNumber(text); number && *number <= UINT32_MAX) {
    return static_cast<Access>(*number);
  }
  Access access = Access::kLocalRead;
  const std::vector<std::string> names = absl::StrSplit(text, absl::ByAnyChar("|,"));
  for (const std::string& name : names) {
    const NamedRight* found = nullptr;
    for (const NamedRight& right : kRights) {
      if (name == right.name || name == right.short_name) found = &right;
    }
    if (found == nullptr) {
      std::string known;
      for (const NamedRight& right : kRights) {
        absl::StrAppend(&known, known.empty() ? "" : ", ", right.name, " (", right.short_name, ")");
      }
      return absl::InvalidArgumentError(
          absl::StrFormat("RIGHTS: \"%s\" is no right; there are: %s", name, known));
    }
    access = access | found->right;
  }
  return access;
}

absl::StatusOr<ExplainRequest> Parse(const Arguments& arguments) {
  ExplainRequest request;
  const auto where = arguments.where.Parse();
  if (!where.ok()) return where.status();
  request.pid = where->pid;
  request.range = where->range;
  const auto rights = ParseRights(arguments.rights);
  if (!rights.ok()) return rights.status();
  request.access = *rights;
  for (const auto& [name, kind] : kKinds) {
    if (arguments.kind != name) continue;
    request.kind = Any(request.access & Access::kOnDemand) ? PinKind::kOnDemand : kind;
    return request;
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "--kind: \"%s\" is none of transient, longterm, on-demand, frame-only", arguments.kind));
}

const char* KindName(PinKind kind) {
  for (const auto& [name, value] : kKinds) {
    if (value == kind) return name;
  }
  return "unknown";
}

// The device asked for; without a name the best RDMA device, or none: the loopback device is not
// what an application's registrations go to.
absl::StatusOr<std::shared_ptr<Device>> Open(const std::string& name) {
  auto device = OpenDevice(name);
  if (!name.empty()) return device;
  if (!device.ok() || (*device)->name() == "loopback") return std::shared_ptr<Device>();
  return device;
}

// What ibv_reg_mr fails with where a status has this code.
const char* ErrnoOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kFailedPrecondition:
      return "EFAULT";
    case absl::StatusCode::kResourceExhausted:
      return "ENOMEM";
    case absl::StatusCode::kPermissionDenied:
      return "EPERM";
    case absl::StatusCode::kInvalidArgument:
      return "EINVAL";
    default:
      return "EOPNOTSUPP";
  }
}

std::string Answer(const Diagnosis& diagnosis) {
  std::string answer = diagnosis.certain ? "" : "probably ";
  return answer + (diagnosis.code == absl::StatusCode::kOk ? "allowed" : "refused");
}

std::string LimitsText(const PinLimits& limits) {
  const std::string memlock =
      limits.memlock_bytes == UINT64_MAX ? "unlimited" : absl::StrCat(limits.memlock_bytes, " B");
  return absl::StrFormat("RLIMIT_MEMLOCK %s, %d B pinned, %s CAP_IPC_LOCK, memory %d B", memlock,
                         limits.pinned_bytes, limits.exempt ? "with" : "without",
                         limits.machine_bytes);
}

std::string ToText(const ExplainRequest& request, const Diagnosis& diagnosis,
                   const std::string& device) {
  const PinLimits limits = ReadPinLimits(request.pid);
  std::string text = absl::StrFormat("%-9s %s", "answer", Answer(diagnosis));
  if (diagnosis.code != absl::StatusCode::kOk) {
    absl::StrAppend(&text, " (", ErrnoOf(diagnosis.code), ")");
  }
  const auto line = [&text](const char* key, const std::string& value) {
    if (!value.empty()) absl::StrAppendFormat(&text, "\n%-9s %s", key, Printable(value));
  };
  line("asked", absl::StrCat(request.range.ToString(), " for ", ToString(request.access), ", ",
                             KindName(request.kind), ", ", device.empty() ? "no device" : device));
  line("reason", diagnosis.sentence);
  line("remedy", diagnosis.remedy);
  line("where", diagnosis.offending.empty() ? "" : diagnosis.offending.ToString());
  line("mapping", diagnosis.mapping);
  line("process", absl::StrCat(limits.process, ": ", LimitsText(limits)));
  return text + "\n";
}

nlohmann::ordered_json ToJson(Range range) {
  if (range.empty()) return nullptr;
  return {{"start", absl::StrFormat("0x%x", range.start)},
          {"end", absl::StrFormat("0x%x", range.end)},
          {"bytes", range.size()}};
}

std::string ToJson(const ExplainRequest& request, const Diagnosis& diagnosis,
                   const std::string& device) {
  const PinLimits limits = ReadPinLimits(request.pid);
  const bool refused = diagnosis.code != absl::StatusCode::kOk;
  nlohmann::ordered_json json = {{"pid", request.pid == 0 ? getpid() : request.pid},
                                 {"range", ToJson(request.range)},
                                 {"rights", ToString(request.access)},
                                 {"kind", KindName(request.kind)},
                                 {"device", device},
                                 {"refused", refused},
                                 {"certain", diagnosis.certain},
                                 {"code", absl::StatusCodeToString(diagnosis.code)},
                                 {"errno", refused ? ErrnoOf(diagnosis.code) : ""},
                                 {"sentence", diagnosis.sentence},
                                 {"remedy", diagnosis.remedy},
                                 {"offending", ToJson(diagnosis.offending)},
                                 {"mapping", diagnosis.mapping},
                                 {"limits",
                                  {{"memlock_bytes", nullptr},
                                   {"pinned_bytes", limits.pinned_bytes},
                                   {"exempt", limits.exempt},
                                   {"memory_bytes", limits.machine_bytes},
                                   {"max_map_count", limits.max_map_count}}}};
  if (limits.memlock_bytes != UINT64_MAX) json["limits"]["memlock_bytes"] = limits.memlock_bytes;
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

ExitCode RunExplain(const Arguments& arguments) {
  auto request = Parse(arguments);
  if (!request.ok()) return Fail(ExitCode::kUsage, request.status());
  const auto device = Open(arguments.device);
  if (!device.ok()) {
    const bool unknown = absl::IsNotFound(device.status());
    return Fail(unknown ? ExitCode::kUsage : ExitCode::kUnusable, device.status());
  }
  const std::shared_ptr<Registrar> registrar =
      *device != nullptr ? (*device)->registrar() : nullptr;
  request->registrar = registrar.get();
  MappingReader reader(MappingReader::Source::kBest, request->pid);
  if (const auto seen = reader.LookUp(request->range.start); !seen.ok()) {
    return Fail(ExitCode::kUnusable, seen.status());
  }
  const Diagnosis diagnosis = Explain(*request);
  const std::string name = registrar != nullptr ? registrar->name() : "";
  Print(arguments.json ? ToJson(*request, diagnosis, name) : ToText(*request, diagnosis, name));
  if (diagnosis.code == absl::StatusCode::kOk) return ExitCode::kOk;
  return Fail(ExitCode::kUnusable, diagnosis.sentence);
}

}  // namespace

void AddExplain(CLI::App& app, Action& action) {
  CLI::App* explain = app.add_subcommand(
      "explain", "Says why memory of a process cannot be registered, and what to do about it");
  const auto arguments = std::make_shared<Arguments>();
  arguments->where.AddTo(*explain, true);
  explain->add_option("RIGHTS", arguments->rights, "LocalWrite|RemoteRead, lw,rr, or a number")
      ->required();
  explain->add_option("--kind", arguments->kind, "transient, longterm, on-demand or frame-only");
  explain->add_option("-d,--device", arguments->device,
                      "Whose limits and answers count (default: the first RDMA device, if any)");
  explain->add_flag("--json", arguments->json, "Machine-readable output");
  explain->callback(
      [arguments, &action] { action = [arguments] { return RunExplain(*arguments); }; });
}

}  // namespace linchpin
