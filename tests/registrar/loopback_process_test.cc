// Tests the loopback device in processes that lack something: io_uring, descriptors, the right to
// lock memory; and that a killed process leaves nothing pinned.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/fd.h"
#include "lib/registrar/loopback/ring.h"
#include "tests/registrar/loopback_fixture.h"
#include "tests/testing/child.h"

namespace linchpin {
namespace {

using testing::Complaint;
using testing::DropPrivilege;
using testing::kAllRights;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;
using testing::PinnedBytes;
using testing::RunInChild;
using testing::SetLimit;

std::size_t OpenDescriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// From now on the system call fails with `error`.
bool Forbid(unsigned system_call, unsigned error) {
  std::array<sock_filter, 4> program{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, system_call, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog filter{program.size(), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

Complaint CreateMustBeUnavailable(unsigned system_call, unsigned error) {
  const std::size_t descriptors = OpenDescriptors();
  if (!Forbid(system_call, error)) return "seccomp refused";
  const auto device = LoopbackDevice::Create();
  if (!absl::IsUnavailable(device.status())) return device.status().ToString();
  const std::string text = device.status().ToString();
  if (text.find("seccomp") == std::string::npos &&
      text.find("io_uring_disabled") == std::string::npos) {
    return "no remedy: " + text;
  }
  return OpenDescriptors() == descriptors ? "" : "a descriptor leaked";
}

class LoopbackProcess : public LoopbackTest {};

TEST_F(LoopbackProcess, WithoutIoUringCreateIsUnavailableWithTheRemedy) {
  for (const unsigned call : std::initializer_list<unsigned>{SYS_io_uring_setup, SYS_io_uring_enter,
                                                             SYS_io_uring_register}) {
    for (const unsigned error : std::initializer_list<unsigned>{EPERM, ENOSYS, EACCES}) {
      EXPECT_EQ(RunInChild([=] { return CreateMustBeUnavailable(call, error); }), "")
          << call << " " << error;
    }
  }
}

// Whichever descriptor is the first that there is none left for.
TEST_F(LoopbackProcess, CreateWithTooFewDescriptorsLeaksNone) {
  EXPECT_EQ(RunInChild([]() -> Complaint {
              const std::size_t before = OpenDescriptors();
              int next = dup(0);
              close(next);
              int failures = 0;
              for (int more = 0;; ++more) {
                SetLimit(RLIMIT_NOFILE, static_cast<rlim_t>(next + more));
                const absl::Status status = LoopbackDevice::Create().status();
                SetLimit(RLIMIT_NOFILE, static_cast<rlim_t>(next + 64));
                if (OpenDescriptors() != before) return "a descriptor leaked";
                if (status.ok()) break;
                ++failures;
                if (!absl::IsResourceExhausted(status) ||
                    status.ToString().find("RLIMIT_NOFILE") == std::string::npos) {
                  return status.ToString();
                }
              }
              return failures >= 3 ? "" : "it needed fewer descriptors than it has";
            }),
            "");
}

TEST_F(LoopbackProcess, WithoutADescriptorForANewRingTheOldOnesStillServe) {
  EXPECT_EQ(RunInChild([]() -> Complaint {
              auto device = *LoopbackDevice::Create();
              SetLimit(RLIMIT_NOFILE, 3);
              const Mapped memory(kPage);
              const Range range{memory.start(), memory.start() + kPage};
              std::vector<Registration> all;
              for (;;) {
                auto made = device->Register(range, kAllRights);
                if (!made.ok()) {
                  if (!absl::IsResourceExhausted(made.status())) return made.status().ToString();
                  if (made.status().ToString().find("RLIMIT_NOFILE") == std::string::npos) {
                    return made.status().ToString();
                  }
                  break;
                }
                all.push_back(*std::move(made));
              }
              if (all.size() != loopback::Ring::kSlots) return std::to_string(all.size());
              std::strcpy(memory.data(), "data");
              const LocalExtent local{memory.data(), 5, all.front().keys[0].lkey};
              if (device->Write({&local, 1}, {memory.start() + 9, all.back().keys[0].rkey}) !=
                  Completion::kSuccess) {
                return "no transfer";
              }
              if (std::strcmp(memory.data() + 9, "data") != 0) return "wrong bytes";
              if (!device->Deregister(all.back()).ok()) return "no deregistration";
              return device->Register(range, kAllRights).ok() ? "" : "no room after one left";
            }),
            "");
}

// What the queues of the device's first ring take of RLIMIT_MEMLOCK on recent kernels.
constexpr std::size_t kDeviceLocks = 2 * kPage;

Complaint FillTheLockLimit() {
  constexpr std::size_t kLimit = 16 * kPage;
  SetLimit(RLIMIT_MEMLOCK, kLimit + kDeviceLocks);
  if (!DropPrivilege(0)) return "still privileged";
  auto device = *LoopbackDevice::Create();
  const std::uint64_t before = PinnedBytes();
  const Mapped memory(2 * kLimit);
  const auto range = [&](std::size_t pages) {
    return Range{memory.start(), memory.start() + pages * kPage};
  };
  const absl::Status too_large = device->Register(range(19), kAllRights).status();
  if (!absl::IsResourceExhausted(too_large)) return too_large.ToString();
  if (too_large.ToString().find("RLIMIT_MEMLOCK") == std::string::npos) return too_large.ToString();
  if (PinnedBytes() != before) return "the refused registration left a pin";
  // Again and again: what is deregistered must not count.
  for (int round = 0; round < 20; ++round) {
    std::vector<Registration> all;
    for (int i = 0; i < 4; ++i) {
      auto made = device->Register(range(4), kAllRights);
      if (!made.ok()) return std::to_string(round) + ": " + made.status().ToString();
      all.push_back(*std::move(made));
    }
    auto more = device->Register(range(1), kAllRights);
    for (std::size_t i = 0; more.ok() && i < kDeviceLocks / kPage; ++i) {
      all.push_back(*std::move(more));
      more = device->Register(range(1), kAllRights);
    }
    if (!absl::IsResourceExhausted(more.status())) return "no limit: " + more.status().ToString();
    for (Registration& registration : all) {
      if (!device->Deregister(registration).ok()) return "no deregistration";
    }
  }
  device.reset();
  return PinnedBytes() == before ? "" : "pins left";
}

TEST_F(LoopbackProcess, ASmallLockLimitIsResourceExhaustedAndLeavesNothing) {
  EXPECT_EQ(RunInChild(FillTheLockLimit), "");
}

TEST_F(LoopbackProcess, WithoutAnyLockLimitRegistrationIsRefusedWithTheRemedy) {
  EXPECT_EQ(
      RunInChild([]() -> Complaint {
        SetLimit(RLIMIT_MEMLOCK, 0);
        if (!DropPrivilege(1)) return "still privileged";
        auto device = LoopbackDevice::Create();
        absl::Status status = device.status();  // On recent kernels refused itself.
        if (status.ok()) {
          const Mapped memory(kPage);
          status = (*device)->Register({memory.start(), memory.start() + 1}, kAllRights).status();
        }
        if (status.ok()) return "registered";
        const std::string text = status.ToString();
        return text.find("RLIMIT_MEMLOCK") != std::string::npos ? "" : text;
      }),
      "");
}

// A user whose pipes use up the user's share of pipe memory gets pipes of two pages.
Complaint TransferThroughSmallPipes() {
  if (!DropPrivilege(4)) return "still privileged";
  std::vector<Fd> hoard;
  for (;;) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) return "no pipe";
    hoard.emplace_back(ends[0]);
    hoard.emplace_back(ends[1]);
    if (fcntl(ends[1], F_GETPIPE_SZ) <= static_cast<int>(2 * kPage)) break;
    (void)fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  }
  const auto device = LoopbackDevice::Create();
  if (!device.ok()) return device.status().ToString();
  const Mapped from(1 << 20);
  const Mapped to(1 << 20);
  testing::FillRandomly({from.data(), from.size()}, 12);
  const auto source = (*device)->Register({from.start(), from.start() + from.size()}, kAllRights);
  const auto sink = (*device)->Register({to.start(), to.start() + to.size()}, kAllRights);
  if (!source.ok() || !sink.ok()) return source.status().ToString();
  std::vector<LocalExtent> extents;
  std::size_t offset = 0;
  for (std::size_t length = 1; offset + length <= from.size(); length = length * 7 % 9973) {
    extents.push_back({from.data() + offset, length, source->keys[0].lkey});
    offset += length;
  }
  if ((*device)->Write(extents, {to.start(), sink->keys[0].rkey}) != Completion::kSuccess) {
    return "no transfer";
  }
  return std::memcmp(from.data(), to.data(), offset) == 0 ? "" : "wrong bytes";
}

TEST_F(LoopbackProcess, SmallPipesCarryTransfersInSmallChunks) {
  EXPECT_EQ(RunInChild(TransferThroughSmallPipes), "");
}

TEST_F(LoopbackProcess, WhenItsDescriptorsAreClosedUnderItEveryCallFails) {
  EXPECT_EQ(RunInChild([]() -> Complaint {
              const auto device = LoopbackDevice::Create();
              if (!device.ok()) return device.status().ToString();
              const Mapped memory(kPage);
              const Range range{memory.start(), memory.start() + kPage};
              auto made = (*device)->Register(range, kAllRights);
              if (!made.ok()) return made.status().ToString();
              if (syscall(SYS_close_range, 3, ~0U, 0) != 0) return "close_range";
              const LocalExtent local{memory.data(), 8, made->keys[0].lkey};
              for (int i = 0; i < 3; ++i) {
                if ((*device)->Write({&local, 1}, {memory.start() + 8, made->keys[0].rkey}) !=
                    Completion::kGeneralError) {
                  return "a transfer";
                }
              }
              if ((*device)->Register(range, kAllRights).ok()) return "a registration";
              if ((*device)->Deregister(*made).ok()) return "a deregistration";
              // The pipe to the test is closed too, so only the exit status can tell.
              _exit(0);
            }),
            "");
}

// Fills the lock limit of a user of its own, and transfers until it is killed.
Complaint TransferForEver(int begun) {
  constexpr std::size_t kBytes = 1 << 20;
  SetLimit(RLIMIT_MEMLOCK, kBytes + kDeviceLocks);
  if (!DropPrivilege(2)) return "still privileged";
  const auto created = LoopbackDevice::Create();  // Refused until the last one's pins are gone.
  if (!created.ok()) return created.status().ToString();
  const auto& device = *created;
  const Mapped memory(kBytes);
  auto made = device->Register({memory.start(), memory.start() + kBytes}, kAllRights);
  if (!made.ok()) return made.status().ToString();
  const std::uint32_t key = made->keys[0].lkey;
  const LocalExtent local{memory.data(), kBytes / 2, key};
  for (int i = 0;; ++i) {
    if (device->Write({&local, 1}, {memory.start() + kBytes / 2, key}) != Completion::kSuccess) {
      return "no transfer";
    }
    if (i == 10 && write(begun, "!", 1) != 1) return "no pipe";
  }
}

// Each round needs the whole limit, which the round before held when it was killed.
TEST_F(LoopbackProcess, KilledAmidATransferItLeavesNothingPinned) {
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(testing::WaitFor("a transfer killed", [&] {
      std::array<int, 2> ends{};
      if (pipe(ends.data()) != 0) return false;
      const Fd read_end(ends[0]);
      Fd write_end(ends[1]);
      const pid_t child = fork();
      if (child == 0) {
        alarm(60);
        _exit(TransferForEver(write_end.get()).empty() ? 0 : 1);
      }
      write_end.Reset(-1);
      char byte = 0;
      const bool begun = read(read_end.get(), &byte, 1) == 1;
      std::this_thread::sleep_for(std::chrono::milliseconds(7 * round));
      kill(child, SIGKILL);
      int status = 0;
      waitpid(child, &status, 0);
      return begun && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }));
  }
}

}  // namespace
}  // namespace linchpin
