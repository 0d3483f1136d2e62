// What the pin rules have against the memory itself, said in words.
#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "lib/explain/kernel_traits.h"
#include "lib/explain/reasons.h"
#include "lib/memory/guard_pages.h"
#include "lib/memory/snapshot.h"
#include "lib/pin/pin_rules.h"

namespace linchpin::internal {
namespace {

struct Words {
  std::string sentence;
  std::string remedy;
};

bool PinsForWriting(const ExplainRequest& request) {
  return request.registrar != nullptr && request.registrar->limits().pins_for_writing;
}

PinCase CaseOf(const ExplainRequest& request, const MemoryPiece& piece) {
  return {.target = piece.target,
          .protection = piece.mapping.protection,
          .shared = piece.mapping.shared,
          .kind = request.kind,
          .writes = TakesForWriting(request.access) || PinsForWriting(request)};
}

// The folder of the piece's file: on the same file system, so a file there is treated alike.
std::string FolderOf(const ExplainRequest& request, const MemoryPiece& piece) {
  const std::string& name = piece.mapping.name;
  if (request.pid != 0 || !name.starts_with('/')) return "";
  return name.substr(0, std::max<std::size_t>(name.rfind('/'), 1));
}

// Whether the file system that holds the pages is the one that is known, or is known at all.
bool IsFileSystemClear(const MemoryPiece& piece) {
  return !piece.file.file_system.empty() && piece.file.file_system != "overlay";
}

// Files that nobody can have a descriptor of, and so nobody truncate: no guard is needed, or could
// be had.
bool IsBeyondTruncation(const Mapping& mapping) {
  return mapping.kind == MappingKind::kSysvShm || mapping.name == "/dev/zero (deleted)" ||
         mapping.name == "/anon_hugepage (deleted)" || mapping.name.starts_with("[anon_shmem:");
}

PinDecision DecideFor(const ExplainRequest& request, const MemoryPiece& piece) {
  const PinCase pin = CaseOf(request, piece);
  PinDecision decision = Decide(pin, {});
  if (decision.verdict == PinVerdict::kNeedsGuard && IsBeyondTruncation(piece.mapping)) {
    decision.verdict = PinVerdict::kAllowed;
  }
  const bool is_trait = !decision.certain && decision.verdict != PinVerdict::kUnclear;
  if (!is_trait) return decision;
  decision = Decide(pin, ProbeKernelTraits(request.registrar, FolderOf(request, piece)));
  if (decision.verdict == PinVerdict::kWritesUnheard && !IsFileSystemClear(piece)) {
    decision.certain = false;
  }
  return decision;
}

Words NotWritable(const ExplainRequest& request, const std::string& where) {
  if (!TakesForWriting(request.access)) {
    return {absl::StrCat(where, ", and ", request.registrar->name(),
                         " takes pages for writing, whatever the rights"),
            "give the memory write permission (PROT_WRITE), or use an RDMA device"};
  }
  return {absl::StrCat(where, ", without the write permission that ", ToString(request.access),
                       " needs"),
          "give the memory write permission (PROT_WRITE), or ask for reading alone"};
}

Words WritesUnheard(const ExplainRequest& request, const std::string& where) {
  if (!TakesForWriting(request.access)) {
    return {
        absl::StrCat(where, ", whose file system must hear of each write before it happens, and ",
                     request.registrar->name(), " takes pages for writing, whatever the rights"),
        "use an RDMA device, or read() the file into ordinary memory"};
  }
  return {absl::StrCat(where,
                       ", whose file system must hear of each write before it happens; "
                       "a device's write to pinned pages it cannot hear"),
          "ask for reading alone; let the device write to anonymous memory, a memfd or "
          "hugetlb and write() from there; or use OnDemand where the device has it"};
}

Words FaultsLater(const ExplainRequest& request, const MemoryPiece& piece) {
  const std::string later =
      absl::StrCat(": it registers on demand, and the device's access to it fails for ",
                   ToString(request.access));
  const std::string range = piece.range.ToString();
  switch (piece.target) {
    case PinTarget::kHole:
      return {absl::StrCat("nothing is mapped at ", range, later),
              "map it with these rights before the device gets there"};
    case PinTarget::kDevice:
      return {absl::StrCat(range, " is ", piece.ToString(),
                           ", addresses of a device, with no page of memory", later),
              "use ordinary memory, or the device's dma-buf where its driver gives one"};
    default:
      return {absl::StrCat(range, " is ", piece.ToString(), later),
              "give it these rights (mprotect) before the device gets there"};
  }
}

Words WordsFor(PinVerdict verdict, const ExplainRequest& request, const MemoryPiece& piece) {
  const std::string range = piece.range.ToString();
  const std::string where = absl::StrCat(range, " is ", piece.ToString());
  switch (verdict) {
    case PinVerdict::kNothingMapped:
      return {absl::StrCat("nothing is mapped at ", range), "map it first, or leave it out"};
    case PinVerdict::kNotReadable:
      return {absl::StrCat(where, ", without read permission"),
              "give the memory read permission (PROT_READ) before registering it"};
    case PinVerdict::kNotWritable:
      return NotWritable(request, where);
    case PinVerdict::kSharedReadOnly:
      return {absl::StrCat(where,
                           ", shared and without write permission, and this kernel takes "
                           "pages as if for writing even to be read"),
              "map it writable or private, copy it into ordinary memory, or use a newer kernel"};
    case PinVerdict::kWritesUnheard:
      return WritesUnheard(request, where);
    case PinVerdict::kFsDax:
      return {absl::StrCat(where,
                           ", whose pages are the storage itself: pinned, they would keep "
                           "the file system from its own blocks"),
              "use OnDemand on a device that has it, copy through ordinary memory, or mount "
              "without dax"};
    case PinVerdict::kSecret:
      return {absl::StrCat(where, " (memfd_secret), which no device may reach"),
              "use other memory"};
    case PinVerdict::kNoPages:
      return {absl::StrCat(where, ": addresses of a device, with no page of memory to pin"),
              "use ordinary memory, or the device's dma-buf where its driver gives one"};
    case PinVerdict::kUnclear:
      return {absl::StrCat(where, ", of which only the kernel can tell whether it can be pinned"),
              "register it to find out, or use ordinary memory"};
    case PinVerdict::kFaultsLater:
      return FaultsLater(request, piece);
    case PinVerdict::kNeedsGuard:
      return {absl::StrCat(where,
                           ": it can be registered; whoever truncates its file takes the "
                           "pages away from under the device, and no event says so"),
              "hold a BackingGuard while it is registered"};
    case PinVerdict::kAllowed:
      break;
  }
  return {absl::StrCat(where,
                       ", shared and without write permission: a kernel that takes pages as "
                       "if for writing even to be read refuses it, and this one could not "
                       "be asked"),
          "register it to find out, or map it writable"};
}

Diagnosis ReasonFor(const PinDecision& decision, const ExplainRequest& request,
                    const MemoryPiece& piece) {
  Words words = WordsFor(decision.verdict, request, piece);
  Diagnosis reason;
  reason.code = CodeOf(decision.verdict);
  reason.sentence = std::move(words.sentence);
  reason.remedy = std::move(words.remedy);
  reason.offending = piece.range;
  reason.mapping = piece.ToString();
  reason.certain = decision.certain;
  return reason;
}

Diagnosis BehindEndOfFile(const ExplainRequest& request, const MemoryPiece& piece) {
  const Range behind{std::max(piece.range.start, *piece.end_of_file), piece.range.end};
  const std::uint64_t needed = piece.mapping.offset + (piece.range.end - piece.mapping.range.start);
  Diagnosis reason;
  const bool registers = request.kind == PinKind::kOnDemand;
  reason.code = registers ? absl::StatusCode::kOk : absl::StatusCode::kFailedPrecondition;
  reason.sentence = absl::StrCat(behind.ToString(), " is behind the end of its file, ",
                                 piece.ToString(), ", which has ", *piece.file.bytes, " bytes",
                                 registers ? ": the device's access to it fails" : "");
  reason.remedy = absl::StrCat("make the file at least ", needed,
                               " bytes long (ftruncate), or register what is in it");
  reason.offending = behind;
  reason.mapping = piece.ToString();
  return reason;
}

// Guard pages lie in mappings that look like any other.
void AddGuardPages(const ExplainRequest& request, const std::vector<MemoryPiece>& pieces,
                   Reasons& reasons) {
  const Range guard = FirstGuardPages(request.pid, request.range);
  if (guard.empty()) return;
  const auto piece = std::find_if(pieces.begin(), pieces.end(), [guard](const MemoryPiece& one) {
    return one.range.Overlaps(guard);
  });
  if (piece == pieces.end()) return;  // Unmapped since.
  Diagnosis reason;
  const bool registers = request.kind == PinKind::kOnDemand;
  reason.code = registers ? absl::StatusCode::kOk : absl::StatusCode::kFailedPrecondition;
  reason.sentence = absl::StrCat(guard.ToString(),
                                 " are guard pages (MADV_GUARD_INSTALL), which nobody may touch",
                                 registers ? ": the device's access to them fails" : "");
  reason.remedy = "leave them out, or remove them (MADV_GUARD_REMOVE)";
  reason.offending = guard;
  reason.mapping = piece->ToString();
  reasons.push_back(std::move(reason));
}

}  // namespace

void AddMemoryReasons(const ExplainRequest& request, Reasons& reasons) {
  const auto pieces = SnapshotMemory(request.pid, request.range);
  if (!pieces.ok()) {
    Diagnosis reason;
    reason.sentence =
        absl::StrCat("what is mapped cannot be looked at: ", pieces.status().message());
    reason.certain = false;
    return reasons.push_back(std::move(reason));
  }
  Reasons warnings;
  for (const MemoryPiece& piece : *pieces) {
    const PinDecision decision = DecideFor(request, piece);
    if (IsRefusal(decision.verdict)) {
      reasons.push_back(ReasonFor(decision, request, piece));
    } else if (piece.end_of_file && *piece.end_of_file < piece.range.end &&
               request.kind != PinKind::kFrameOnly) {
      Diagnosis reason = BehindEndOfFile(request, piece);
      (reason.code == absl::StatusCode::kOk ? warnings : reasons).push_back(std::move(reason));
    } else if (decision.verdict != PinVerdict::kAllowed || !decision.certain) {
      warnings.push_back(ReasonFor(decision, request, piece));
    }
  }
  if (request.kind != PinKind::kFrameOnly) AddGuardPages(request, *pieces, reasons);
  std::move(warnings.begin(), warnings.end(), std::back_inserter(reasons));
}

}  // namespace linchpin::internal
