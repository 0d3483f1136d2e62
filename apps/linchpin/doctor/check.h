// What `linchpin doctor` finds: one check a row.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace linchpin {

enum class CheckState : std::uint8_t {
  kOk,
  kWarning,  // Linchpin works, but not as well as it could.
  kProblem,  // Linchpin does not work.
};

struct Check {
  std::string name;
  CheckState state = CheckState::kOk;
  std::string detail;  // What was found.
  std::string remedy;  // What to do about it; empty when the state is kOk.

  // A check of this name that has found nothing yet.
  static Check Of(std::string name) { return {std::move(name), CheckState::kOk, "", ""}; }
};

// The devices: the loopback one and each RDMA device, with ports and limits. At least one of them
// has to be usable, or the check "devices" is a problem.
std::vector<Check> CheckDevices();

// The process: what it may pin and map.
std::vector<Check> CheckProcess();

// The kernel: userfaultfd, io_uring, fork, membarrier.
std::vector<Check> CheckKernel();

}  // namespace linchpin
