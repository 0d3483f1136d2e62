// Stands in for UCX where its header was not found when this was built, so that every benchmark
// compiles the same: its rows say that it is absent, and nothing here is ever called.
#pragma once

#include <string_view>

#include "bench/contenders/noop_registrar.h"
#include "bench/harness/options.h"
#include "bench/workload/regions.h"

namespace linchpin::bench {

class UcxContender final {
 public:
  static constexpr std::string_view kName = "UCX ucs_rcache";
  static constexpr std::string_view kAbsent = "built without libucx-dev";
  struct Claim {};
  enum class Hooks : bool { kNone, kUnmap };

  explicit UcxContender(Hooks /*hooks*/ = Hooks::kUnmap) {}

  void Hit(const Request&) { Fail("no UCX"); }
  Claim Acquire(const Request&) { Fail("no UCX"); }
  void Release(Claim) { Fail("no UCX"); }
  void Invalidate(Claim) { Fail("no UCX"); }
  void Finish(Range) { Fail("no UCX"); }
  NoopDevice& device() { Fail("no UCX"); }
};

}  // namespace linchpin::bench
