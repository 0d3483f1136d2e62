// What `linchpin pins` finds out, before it is joined and shown.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "lib/pin/ledger_reader.h"

namespace linchpin {

// A process whose ledger was read.
struct PinningProcess {
  pid_t pid = -1;
  std::string command;
  std::uint64_t vm_pin_bytes = 0;  // What the kernel says is pinned by it, whoever asked for it.
  bool fresh = false;              // Whether it brought its ledger up to date when asked.
  internal::LedgerContents contents;
};

// A process that has pinned something, or may have, and of which nothing more is known.
struct OtherProcess {
  pid_t pid = -1;
  std::string command;
  std::uint64_t vm_pin_bytes = 0;
  std::string reason;
};

// A memory region as the kernel's RDMA core lists it. Without its keys.
struct KernelMr {
  pid_t pid = -1;  // -1: the kernel's own.
  std::string command;
  std::string device;
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
};

struct KernelMrs {
  std::vector<KernelMr> mrs;
  std::string problem;  // Why they are not known; empty if they are.
};

struct Survey {
  std::vector<PinningProcess> processes;
  std::vector<OtherProcess> others;
  KernelMrs rdma;
};

// Looks at process `pid`, or at all. Returns: NotFound for a process that is not there;
// PermissionDenied, FailedPrecondition, Unimplemented or DataLoss for one whose ledger cannot be
// read; never an error without a pid.
absl::StatusOr<Survey> MakeSurvey(std::optional<pid_t> pid);

// Runs `rdma resource show mr`, for a few seconds at most.
KernelMrs AskRdmaTool();

}  // namespace linchpin
