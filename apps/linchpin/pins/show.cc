#include "apps/linchpin/pins/show.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/columns.h"
#include "apps/linchpin/printable.h"
#include "apps/linchpin/quantity.h"
#include "apps/linchpin/refresh.h"
#include "lib/pin/ledger_format.h"
#include "nlohmann/json.hpp"

namespace linchpin {
namespace {

using internal::LedgerContents;
using internal::ListedPin;
using Json = nlohmann::ordered_json;

std::string DeviceText(std::uint64_t device) {
  return absl::StrCat(major(device), ":", minor(device));
}

bool HasFile(const ListedPin& pin) {
  return pin.file_device != 0 || pin.file_inode != 0;
}

std::string OwnerText(const ListedPin& pin) {
  if (pin.owner == 0) return "-";
  return pin.owner_name.empty() ? absl::StrCat(pin.owner)
                                : absl::StrCat(pin.owner, ":", Printable(pin.owner_name));
}

std::string Title(const PinGroup& group, JoinBy by) {
  const PinOfProcess& first = group.pins.front();
  if (by == JoinBy::kProcess) {
    return absl::StrFormat("process %d (%s): %s pinned in %d pins", first.process->pid,
                           Printable(first.process->command), FormatSize(group.bytes),
                           group.pins.size());
  }
  return absl::StrFormat("%s: %s pinned in %d pins by %d process%s", FileName(*first.pin),
                         FormatSize(group.bytes), group.pins.size(), group.processes,
                         group.processes == 1 ? "" : "es");
}

std::string GroupText(const PinGroup& group, JoinBy by, std::uint64_t now_ns) {
  const bool by_process = by == JoinBy::kProcess;
  std::vector<std::string> heads{"RANGE", "BYTES", "KIND",   "RIGHTS", "DEVICE",
                                 "OWNER", "AGE",   "LEASES", "RUNS"};
  if (by_process) heads.emplace_back("FILE");
  if (!by_process) heads.insert(heads.begin(), {"PID", "COMMAND"});
  Columns table(std::move(heads));
  for (const auto& [process, pin] : group.pins) {
    std::vector<std::string> row{absl::StrFormat("%#x-%#x", pin->range.start, pin->range.end),
                                 absl::StrCat(pin->range.size()),
                                 ToString(pin->kind),
                                 ToString(pin->rights),
                                 Printable(pin->device),
                                 OwnerText(*pin),
                                 absl::StrFormat("%.1fs", SecondsSince(pin->pinned_at_ns, now_ns)),
                                 absl::StrCat(pin->leases),
                                 pin->runs == 0 ? "-" : absl::StrCat(pin->runs)};
    if (by_process) row.push_back(FileName(*pin));
    if (!by_process) {
      row.insert(row.begin(), {absl::StrCat(process->pid), Printable(process->command)});
    }
    table.Add(std::move(row));
  }
  return absl::StrCat(Title(group, by), "\n", table.ToText(), "\n");
}

// What has to be known beside the pins of a process that are shown.
std::string NotesText(const PinningProcess& process) {
  const LedgerContents& contents = process.contents;
  const std::string who =
      absl::StrFormat("process %d (%s): ", process.pid, Printable(process.command));
  std::string text;
  if (contents.unlisted_pins != 0) {
    absl::StrAppend(&text, who, contents.unlisted_pins, " pins of ", contents.unlisted_bytes,
                    " bytes found no room in its ledger since it began\n");
  }
  if (contents.busy != 0) absl::StrAppend(&text, who, contents.busy, " records were busy\n");
  if (contents.damaged != 0) {
    absl::StrAppend(&text, who, contents.damaged,
                    " records have been written over by another process\n");
  }
  if (!process.fresh && !contents.caches.empty()) {
    absl::StrAppend(&text, who, "has not answered: its leases are as of earlier\n");
  }
  return text;
}

std::string RdmaText(const KernelMrs& rdma) {
  if (!rdma.problem.empty()) return absl::StrCat("MRs of the kernel: ", rdma.problem, "\n");
  if (rdma.mrs.empty()) return "MRs of the kernel: none\n";
  Columns table({"PID", "COMMAND", "DEVICE", "MR", "BYTES"});
  for (const KernelMr& mr : rdma.mrs) {
    table.Add({mr.pid < 0 ? "kernel" : absl::StrCat(mr.pid), Printable(mr.command),
               Printable(mr.device), absl::StrCat(mr.number), absl::StrCat(mr.bytes)});
  }
  return absl::StrCat("MRs of the kernel (rdma resource show mr):\n", table.ToText());
}

Json PinJson(const PinOfProcess& one, std::uint64_t now_ns) {
  const ListedPin& pin = *one.pin;
  Json json = {{"pid", one.process->pid},
               {"command", Printable(one.process->command)},
               {"start", absl::StrFormat("%#x", pin.range.start)},
               {"end", absl::StrFormat("%#x", pin.range.end)},
               {"bytes", pin.range.size()},
               {"kind", ToString(pin.kind)},
               {"rights", ToString(pin.rights)},
               {"device", Printable(pin.device)},
               {"owner", nullptr},
               {"file", nullptr},
               {"age_s", SecondsSince(pin.pinned_at_ns, now_ns)},
               {"leases", pin.leases},
               {"runs", nullptr}};
  if (pin.owner != 0) {
    json["owner"] = {{"id", pin.owner}, {"name", Printable(pin.owner_name)}};
  }
  if (HasFile(pin)) json["file"] = FileName(pin);
  if (pin.runs != 0) json["runs"] = pin.runs;
  return json;
}

Json GroupJson(const PinGroup& group, JoinBy by, std::uint64_t now_ns) {
  const PinOfProcess& first = group.pins.front();
  Json json;
  if (by == JoinBy::kProcess) {
    json = {{"pid", first.process->pid}, {"command", Printable(first.process->command)}};
  } else {
    const ListedPin& pin = *first.pin;
    json = {{"file", nullptr}, {"file_device", nullptr}, {"file_inode", nullptr}};
    if (HasFile(pin)) {
      json = {{"file", FileName(pin)},
              {"file_device", DeviceText(pin.file_device)},
              {"file_inode", pin.file_inode}};
    }
    json["processes"] = group.processes;
  }
  json["bytes"] = group.bytes;
  json["pins"] = Json::array();
  for (const PinOfProcess& one : group.pins) json["pins"].push_back(PinJson(one, now_ns));
  return json;
}

Json ProcessJson(const PinningProcess& process) {
  const LedgerContents& contents = process.contents;
  return {{"pid", process.pid},
          {"command", Printable(process.command)},
          {"vm_pin_bytes", process.vm_pin_bytes},
          {"fresh", process.fresh},
          {"listed_pins", contents.pins.size()},
          {"unlisted_pins", contents.unlisted_pins},
          {"unlisted_bytes", contents.unlisted_bytes},
          {"busy_records", contents.busy},
          {"damaged_records", contents.damaged}};
}

Json RdmaJson(const KernelMrs& rdma) {
  Json json = {{"problem", nullptr}, {"mrs", Json::array()}};
  if (!rdma.problem.empty()) json["problem"] = Printable(rdma.problem);
  for (const KernelMr& mr : rdma.mrs) {
    json["mrs"].push_back({{"pid", mr.pid < 0 ? Json(nullptr) : Json(mr.pid)},
                           {"command", Printable(mr.command)},
                           {"device", Printable(mr.device)},
                           {"mrn", mr.number},
                           {"mrlen", mr.bytes}});
  }
  return json;
}

}  // namespace

std::string FileName(const ListedPin& pin) {
  if (!HasFile(pin)) return "anonymous memory";
  if (!pin.file.empty()) return Printable(pin.file);
  return absl::StrCat("inode ", pin.file_inode, " on device ", DeviceText(pin.file_device));
}

std::string ToText(const Survey& survey, JoinBy by, const std::vector<PinGroup>& groups) {
  const std::uint64_t now_ns = internal::LedgerNowNs();
  std::string text;
  for (const PinGroup& group : groups) text += GroupText(group, by, now_ns);
  if (groups.empty()) text += "no pins\n\n";
  for (const PinningProcess& process : survey.processes) text += NotesText(process);
  for (const OtherProcess& other : survey.others) {
    text += absl::StrFormat("process %d (%s): %s pinned in all; %s\n", other.pid,
                            Printable(other.command), FormatSize(other.vm_pin_bytes),
                            Printable(other.reason));
  }
  return text + RdmaText(survey.rdma);
}

std::string ToJson(const Survey& survey, JoinBy by, const std::vector<PinGroup>& groups) {
  const std::uint64_t now_ns = internal::LedgerNowNs();
  const char* const joined = by == JoinBy::kFile ? "files" : "by_process";
  Json json = {{joined, Json::array()}, {"processes", Json::array()}, {"others", Json::array()}};
  for (const PinGroup& group : groups) json[joined].push_back(GroupJson(group, by, now_ns));
  for (const PinningProcess& process : survey.processes) {
    json["processes"].push_back(ProcessJson(process));
  }
  for (const OtherProcess& other : survey.others) {
    json["others"].push_back({{"pid", other.pid},
                              {"command", Printable(other.command)},
                              {"vm_pin_bytes", other.vm_pin_bytes},
                              {"reason", Printable(other.reason)}});
  }
  json["rdma"] = RdmaJson(survey.rdma);
  return json.dump(2) + "\n";
}

}  // namespace linchpin
