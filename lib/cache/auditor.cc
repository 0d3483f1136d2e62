#include "lib/cache/auditor.h"

#include <cstdlib>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "lib/base/log.h"

namespace linchpin::internal {
namespace {

// What the environment says. A word that means nothing must not break a program, nor go unnoticed.
Audit FromEnvironment() {
  const char* const value = secure_getenv("LINCHPIN_AUDIT");
  const std::string text = value == nullptr ? "" : value;
  if (text == "ends") return Audit::kEnds;
  if (text == "all") return Audit::kAll;
  if (text != "" && text != "none") {
    Log(absl::StrCat("LINCHPIN_AUDIT is \"", text,
                     "\", so nothing is audited; set it to none, ends or all"));
  }
  return Audit::kNone;
}

void LogRefusal(const absl::Status& why) {
  static std::atomic<bool> logged{false};
  if (logged.exchange(true)) return;
  Log(absl::StrCat("auditing was asked for, but is not possible: ", why.message()));
}

}  // namespace

Auditor::Auditor(Audit wanted) {
  const Audit chosen = wanted == Audit::kDefault ? FromEnvironment() : wanted;
  if (chosen == Audit::kNone) return;
  if (chosen == Audit::kAll) pages_ = FrameSample::Pages::kAll;
  absl::StatusOr<PageMap> map = OpenPageMapWithFrames();
  on_ = map.ok();
  refused_ = !map.ok();
  if (map.ok()) {
    map_ = *std::move(map);
  } else {
    LogRefusal(map.status());
  }
}

void Auditor::LogOnce(const AuditFinding& finding) {
  if (logged_.exchange(true)) return;
  Log(absl::StrCat("audit: the page ", finding.page.ToString(), " was frame ", finding.frame_then,
                   " when it was registered with ", finding.device, ", and is ", finding.frame_now,
                   " now: its mapping changed without an event; call Invalidate before such "
                   "changes"));
}

}  // namespace linchpin::internal
