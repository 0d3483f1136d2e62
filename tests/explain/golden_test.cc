// What kernels answer to each kind of registration, and what Explain says of it: they agree, row by
// row. Needs an RDMA device; tests/golden/run prepares a guest for it and runs it on each kernel.
//
// What would be an oops is not asked of any kernel: that it is refused before is what its rows
// show.
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "apps/transport/transport.h"
#include "lib/explain/explain.h"
#include "tests/device/test_device.h"
#include "tests/explain/golden_rows.h"

namespace linchpin::testing {
namespace {

constexpr const char* kAnswerNames[] = {"ok", "EFAULT", "EINVAL", "EOPNOTSUPP", "ENOMEM", "EPERM"};
constexpr absl::StatusCode kAnswerCodes[] = {absl::StatusCode::kOk,
                                             absl::StatusCode::kFailedPrecondition,
                                             absl::StatusCode::kInvalidArgument,
                                             absl::StatusCode::kUnimplemented,
                                             absl::StatusCode::kResourceExhausted,
                                             absl::StatusCode::kPermissionDenied};

std::string Name(absl::StatusCode code) {
  for (std::size_t i = 0; i < std::size(kAnswerCodes); ++i) {
    if (kAnswerCodes[i] == code) return kAnswerNames[i];
  }
  return absl::StatusCodeToString(code);
}

// Takes CAP_IPC_LOCK from this thread, and sets the limit; both come back.
class LessMemlock final {
 public:
  explicit LessMemlock(rlim_t bytes) {
    syscall(SYS_capget, &header_, before_);
    __user_cap_data_struct less[_LINUX_CAPABILITY_U32S_3];
    std::copy(std::begin(before_), std::end(before_), std::begin(less));
    less[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
    EXPECT_EQ(syscall(SYS_capset, &header_, less), 0);
    getrlimit(RLIMIT_MEMLOCK, &limit_);
    const rlimit little{bytes, limit_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_MEMLOCK, &little), 0);
  }
  ~LessMemlock() {
    setrlimit(RLIMIT_MEMLOCK, &limit_);
    syscall(SYS_capset, &header_, before_);
  }
  LessMemlock(const LessMemlock&) = delete;
  LessMemlock& operator=(const LessMemlock&) = delete;

 private:
  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct before_[_LINUX_CAPABILITY_U32S_3] = {};
  rlimit limit_{};
};

// Which of the answers are this kernel's; -1 for one that nobody has written down.
int Column() {
  utsname name{};
  uname(&name);
  const std::string release = static_cast<const char*>(name.release);
  if (release.starts_with("6.1.")) return 0;
  if (release.starts_with("6.12.")) return 1;
  return release.starts_with("7.2.") ? 2 : -1;
}

// A kernel's refusal names its errno; the registrar's own does not.
bool WasAsked(const absl::Status& status) {
  return status.ok() || std::string(status.message()).find(": E") != std::string::npos;
}

class Golden : public DeviceTest {
 protected:
  void SetUp() override {
    if (TestDeviceName() == "loopback") {
      GTEST_SKIP() << "needs an RDMA device; LINCHPIN_TEST_DEVICE names none";
    }
    DeviceTest::SetUp();
  }

  void Try(const Row& row, int column) {
    SCOPED_TRACE(std::string(row.memory) + " " + ToString(row.access));
    const Specimen specimen = row.make();
    if (!specimen.absent.empty()) {
      std::printf("%-31s %-19s absent: %s\n", row.memory, ToString(row.access).c_str(),
                  specimen.absent.c_str());
      return;
    }
    std::unique_ptr<LessMemlock> less;
    if (row.memlock != RLIM_INFINITY) less = std::make_unique<LessMemlock>(row.memlock);
    const Diagnosis diagnosis = Explain(specimen.range, row.access, registrar());
    auto registration = registrar().Register(specimen.range, row.access);
    const absl::Status answer = registration.status();
    const bool agree = diagnosis.code == answer.code();
    std::printf("%-31s %-19s %-10s %-10s %-5s %s\n", row.memory, ToString(row.access).c_str(),
                WasAsked(answer) ? Name(answer.code()).c_str() : "not asked",
                Name(diagnosis.code).c_str(),
                agree                ? "yes"
                : !diagnosis.certain ? "maybe"
                                     : "NO",
                diagnosis.sentence.c_str());
    EXPECT_TRUE(agree || !diagnosis.certain) << answer << "\n" << diagnosis.ToString();
    EXPECT_TRUE(diagnosis.certain || row.sure == Sure::kNotNecessarily) << diagnosis.ToString();
    EXPECT_EQ(registrar().name(), TestDeviceName());
    if (column >= 0) {
      EXPECT_EQ(
          Name(answer.code()),
          kAnswerNames[static_cast<std::size_t>(row.answers[static_cast<std::size_t>(column)])]);
    }
    if (registration.ok()) {
      EXPECT_TRUE(registrar().Deregister(*registration).ok());
    } else if (agree && WasAsked(answer)) {
      const absl::Status explained = Explained(answer, specimen.range, row.access, registrar());
      EXPECT_NE(std::string(explained.message()).find(diagnosis.ToString()), std::string::npos)
          << explained;
    }
  }
};

TEST_F(Golden, TheKernelAndExplainAgreeRowByRow) {
  utsname name{};
  uname(&name);
  std::printf("Linux %s, %s\n%-31s %-19s %-10s %-10s %-5s %s\n",
              static_cast<const char*>(name.release), TestDeviceName().c_str(), "memory", "asked",
              "kernel", "Explain", "agree", "Explain's sentence");
  for (const auto& rows : {AnonymousRows(), SharedMemoryRows(), FileRows(), OtherRows()}) {
    for (const Row& row : rows) Try(row, Column());
  }
}

}  // namespace
}  // namespace linchpin::testing
