// VerbsRegistrar over an injected VerbsTable: what it asks of the device, what it never asks, and
// what it makes of each answer.
#include <infiniband/verbs.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "linchpin/verbs.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;

// The device behind the table: answers as told, and remembers what it was asked.
struct FakeDevice {
  ibv_device_attr_ex attributes{};
  int query_result = 0;
  bool reg_fails = false;
  int reg_errno = 0;
  int dereg_result = 0;
  int dereg_errno = 0;
  ibv_mr mr{};

  struct Call {
    ibv_pd* pd;
    void* address;
    std::size_t length;
    int access;
  };
  std::vector<Call> registered;
  std::vector<ibv_mr*> deregistered;
};

FakeDevice* device = nullptr;  // The table's functions have no other way to find it.

ibv_mr* RegMr(ibv_pd* pd, void* address, std::size_t length, int access) {
  device->registered.push_back({pd, address, length, access});
  errno = device->reg_errno;
  return device->reg_fails ? nullptr : &device->mr;
}

int DeregMr(ibv_mr* mr) {
  device->deregistered.push_back(mr);
  errno = device->dereg_errno;
  return device->dereg_result;
}

int QueryDeviceEx(ibv_context*, ibv_device_attr_ex* attributes) {
  *attributes = device->attributes;
  return device->query_result;
}

constexpr VerbsTable kTable{.reg_mr = RegMr, .dereg_mr = DeregMr, .query_device_ex = QueryDeviceEx};

class VerbsRegistrarTest : public ::testing::Test {
 protected:
  VerbsRegistrarTest() {
    device = &fake_;
    fake_.attributes.orig_attr.max_mr = 1000;
    fake_.attributes.orig_attr.max_mr_size = 1 << 20;
    fake_.attributes.orig_attr.page_size_cap = 0x201000;
    fake_.attributes.orig_attr.max_mw = 10;
    fake_.mr.lkey = 0x1234;
    fake_.mr.rkey = 0x5678;
  }
  ~VerbsRegistrarTest() override { device = nullptr; }

  void GiveOnDemand(std::uint32_t reliable_caps) {
    fake_.attributes.odp_caps.general_caps = IBV_ODP_SUPPORT;
    fake_.attributes.odp_caps.per_transport_caps.rc_odp_caps = reliable_caps;
  }

  std::shared_ptr<Registrar> Create() {
    auto registrar = VerbsRegistrar::Create(&pd_, {.table = &kTable});
    EXPECT_TRUE(registrar.ok()) << registrar.status();
    return std::move(registrar).value();
  }

  FakeDevice fake_;
  ibv_context context_{};
  ibv_pd pd_{.context = &context_, .handle = 0};
  alignas(4096) char memory_[8192] = {};
  const Range range_{reinterpret_cast<std::uintptr_t>(memory_) + 100,
                     reinterpret_cast<std::uintptr_t>(memory_) + 4900};
};

constexpr std::uint32_t kOneSidedCaps = IBV_ODP_SUPPORT_WRITE | IBV_ODP_SUPPORT_READ;

TEST_F(VerbsRegistrarTest, RefusesANullProtectionDomain) {
  const auto registrar = VerbsRegistrar::Create(nullptr, {.table = &kTable});
  EXPECT_TRUE(absl::IsInvalidArgument(registrar.status())) << registrar.status();
}

TEST_F(VerbsRegistrarTest, SaysWhyTheDeviceCouldNotBeAsked) {
  fake_.query_result = ENODEV;
  const auto registrar = VerbsRegistrar::Create(&pd_, {.table = &kTable});
  EXPECT_TRUE(absl::IsUnavailable(registrar.status())) << registrar.status();
  EXPECT_THAT(std::string(registrar.status().message()), HasSubstr("ENODEV"));
}

TEST_F(VerbsRegistrarTest, LimitsAreTheDevices) {
  GiveOnDemand(kOneSidedCaps);
  const RegistrarLimits limits = Create()->limits();
  EXPECT_EQ(limits.max_regions, 1000u);
  EXPECT_EQ(limits.max_region_bytes, 1u << 20);
  EXPECT_EQ(limits.page_sizes, 0x201000u);
  EXPECT_TRUE(limits.on_demand);
  EXPECT_EQ(limits.max_bytes, RegistrarLimits{}.max_bytes);
}

TEST_F(VerbsRegistrarTest, ALimitThatTheDeviceLeavesOpenIsNone) {
  fake_.attributes = {};
  const RegistrarLimits limits = Create()->limits();
  EXPECT_EQ(limits.max_regions, RegistrarLimits{}.max_regions);
  EXPECT_EQ(limits.max_region_bytes, RegistrarLimits{}.max_region_bytes);
  EXPECT_EQ(limits.page_sizes, 4096u);
  EXPECT_FALSE(limits.on_demand);
}

TEST_F(VerbsRegistrarTest, AsksForExactlyTheRangeAndGivesTheKeys) {
  const auto registrar = Create();
  auto registration = registrar->Register(range_, Access::kLocalWrite);
  ASSERT_TRUE(registration.ok()) << registration.status();
  ASSERT_EQ(fake_.registered.size(), 1u);
  EXPECT_EQ(fake_.registered[0].pd, &pd_);
  EXPECT_EQ(fake_.registered[0].address, memory_ + 100);
  EXPECT_EQ(fake_.registered[0].length, 4800u);
  EXPECT_EQ(registration->range, range_);
  EXPECT_EQ(registration->access, Access::kLocalWrite);
  ASSERT_EQ(registration->keys.size(), 1u);
  EXPECT_EQ(registration->keys[0].lkey, 0x1234u);
  EXPECT_EQ(registration->keys[0].rkey, 0x5678u);
  EXPECT_EQ(registration->handle, reinterpret_cast<std::uintptr_t>(&fake_.mr));

  EXPECT_TRUE(registrar->Deregister(*registration).ok());
  EXPECT_EQ(registration->handle, 0u);
  EXPECT_EQ(fake_.deregistered, std::vector<ibv_mr*>{&fake_.mr});
}

TEST_F(VerbsRegistrarTest, EveryCombinationOfRightsArrivesAsItsFlags) {
  GiveOnDemand(kOneSidedCaps | IBV_ODP_SUPPORT_ATOMIC);
  const auto registrar = Create();
  const std::vector<std::pair<Access, int>> bits = {
      {Access::kLocalWrite, IBV_ACCESS_LOCAL_WRITE},
      {Access::kRemoteWrite, IBV_ACCESS_REMOTE_WRITE},
      {Access::kRemoteRead, IBV_ACCESS_REMOTE_READ},
      {Access::kRemoteAtomic, IBV_ACCESS_REMOTE_ATOMIC},
      {Access::kMwBind, IBV_ACCESS_MW_BIND},
      {Access::kOnDemand, IBV_ACCESS_ON_DEMAND},
      {Access::kRelaxedOrdering, IBV_ACCESS_RELAXED_ORDERING},
  };
  for (unsigned set = 0; set < 1u << bits.size(); ++set) {
    Access access = Access::kLocalRead;
    int flags = 0;
    for (std::size_t i = 0; i < bits.size(); ++i) {
      if ((set >> i & 1) == 0) continue;
      access = access | bits[i].first;
      flags |= bits[i].second;
    }
    fake_.registered.clear();
    const auto registration = registrar->Register(range_, access);
    const bool peer_writes = (flags & (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)) != 0;
    if (peer_writes && (flags & IBV_ACCESS_LOCAL_WRITE) == 0) {
      EXPECT_TRUE(absl::IsInvalidArgument(registration.status())) << ToString(access);
      EXPECT_TRUE(fake_.registered.empty()) << ToString(access);
      continue;
    }
    ASSERT_TRUE(registration.ok()) << ToString(access) << ": " << registration.status();
    ASSERT_EQ(fake_.registered.size(), 1u);
    EXPECT_EQ(fake_.registered[0].access, flags) << ToString(access);
  }
}

TEST_F(VerbsRegistrarTest, AnUnknownRightIsRefusedByUs) {
  const auto registration = Create()->Register(range_, static_cast<Access>(1u << 9));
  EXPECT_TRUE(absl::IsInvalidArgument(registration.status())) << registration.status();
  EXPECT_TRUE(fake_.registered.empty());
}

TEST_F(VerbsRegistrarTest, ARangeThatIsNoneNeverReachesTheDevice) {
  GiveOnDemand(kOneSidedCaps);
  const auto registrar = Create();
  const std::uintptr_t start = range_.start;
  // The last two are how verbs ask for the whole address space on demand.
  for (const Range range : {Range{start, start}, Range{start, start - 1}, Range{0, 4096},
                            Range{0, 0}, Range{0, UINTPTR_MAX}}) {
    for (const Access access : {Access::kLocalWrite, Access::kOnDemand}) {
      const auto registration = registrar->Register(range, access);
      EXPECT_TRUE(absl::IsInvalidArgument(registration.status())) << registration.status();
    }
  }
  EXPECT_TRUE(fake_.registered.empty());
}

TEST_F(VerbsRegistrarTest, ALongerRangeThanTheDeviceTakesIsRefusedWithTheSizeOfAPiece) {
  const auto registrar = Create();
  const Range longest{range_.start, range_.start + (1 << 20)};
  EXPECT_TRUE(registrar->Register(longest, Access::kLocalRead).ok());
  const auto beyond =
      registrar->Register({longest.start, longest.end + 1}, Access::kLocalRead).status();
  EXPECT_TRUE(absl::IsInvalidArgument(beyond)) << beyond;
  EXPECT_THAT(std::string(beyond.message()), HasSubstr("at most 1048576 bytes"));
  EXPECT_EQ(fake_.registered.size(), 1u);
}

TEST_F(VerbsRegistrarTest, MwBindNeedsADeviceWithMemoryWindows) {
  fake_.attributes.orig_attr.max_mw = 0;
  const auto refused = Create()->Register(range_, Access::kMwBind).status();
  EXPECT_TRUE(absl::IsUnimplemented(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("no memory windows"));
  EXPECT_TRUE(fake_.registered.empty());

  fake_.attributes.orig_attr.device_cap_flags = IBV_DEVICE_MEM_WINDOW_TYPE_2B;
  EXPECT_TRUE(Create()->Register(range_, Access::kMwBind).ok());
}

struct Reason {
  int error;
  absl::StatusCode code;
  const char* text;
};

std::string NameOf(const ::testing::TestParamInfo<Reason>& reason) {
  return "Errno" + std::to_string(reason.param.error);
}

class VerbsRegistrarErrnoTest : public VerbsRegistrarTest,
                                public ::testing::WithParamInterface<Reason> {};

TEST_P(VerbsRegistrarErrnoTest, ARefusalKeepsItsMeaningAndNamesRangeRightsAndErrno) {
  const auto registrar = Create();
  fake_.reg_fails = true;
  fake_.reg_errno = GetParam().error;
  const absl::Status status = registrar->Register(range_, Access::kLocalWrite).status();
  EXPECT_EQ(status.code(), GetParam().code) << status;
  const std::string message(status.message());
  EXPECT_THAT(message, HasSubstr(GetParam().text));
  EXPECT_THAT(message, HasSubstr(range_.ToString()));
  EXPECT_THAT(message, HasSubstr("LocalWrite"));
}

INSTANTIATE_TEST_SUITE_P(
    Errno, VerbsRegistrarErrnoTest,
    ::testing::Values(Reason{ENOMEM, absl::StatusCode::kResourceExhausted, "RLIMIT_MEMLOCK"},
                      Reason{EFAULT, absl::StatusCode::kFailedPrecondition, "EFAULT"},
                      Reason{EPERM, absl::StatusCode::kPermissionDenied, "RLIMIT_MEMLOCK is 0"},
                      Reason{EINVAL, absl::StatusCode::kInvalidArgument, "EINVAL"},
                      Reason{EOPNOTSUPP, absl::StatusCode::kUnimplemented, "EOPNOTSUPP"},
                      Reason{ENOSYS, absl::StatusCode::kUnimplemented, "ENOSYS"},
                      Reason{ENODEV, absl::StatusCode::kUnavailable, "ENODEV"},
                      Reason{EIO, absl::StatusCode::kInternal, "EIO"},
                      Reason{0, absl::StatusCode::kInternal, "EIO"}),
    NameOf);

class VerbsDeregisterErrnoTest : public VerbsRegistrarTest,
                                 public ::testing::WithParamInterface<Reason> {};

TEST_P(VerbsDeregisterErrnoTest, AFailureIsToldWithTheRange) {
  const auto registrar = Create();
  auto registration = registrar->Register(range_, Access::kLocalWrite);
  ASSERT_TRUE(registration.ok());
  fake_.dereg_result = GetParam().error;
  const absl::Status status = registrar->Deregister(*registration);
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().text));
  EXPECT_THAT(std::string(status.message()), HasSubstr(range_.ToString()));
  EXPECT_EQ(fake_.deregistered.size(), 1u);  // Never again of its own accord.
}

INSTANTIATE_TEST_SUITE_P(
    Errno, VerbsDeregisterErrnoTest,
    ::testing::Values(Reason{EBUSY, absl::StatusCode::kInternal, "memory windows"},
                      Reason{EINVAL, absl::StatusCode::kInvalidArgument, "memory windows"},
                      Reason{EIO, absl::StatusCode::kInternal, "EIO"},
                      Reason{ENODEV, absl::StatusCode::kUnavailable, "ENODEV"}),
    NameOf);

TEST_F(VerbsRegistrarTest, AProviderThatReturnsMinusOneIsUnderstoodByItsErrno) {
  const auto registrar = Create();
  auto registration = registrar->Register(range_, Access::kLocalWrite);
  ASSERT_TRUE(registration.ok());
  fake_.dereg_result = -1;
  fake_.dereg_errno = EBUSY;
  EXPECT_THAT(std::string(registrar->Deregister(*registration).message()), HasSubstr("EBUSY"));
}

TEST_F(VerbsRegistrarTest, ASecondDeregistrationNeverReachesTheDevice) {
  const auto registrar = Create();
  auto registration = registrar->Register(range_, Access::kLocalWrite);
  ASSERT_TRUE(registration.ok());
  ASSERT_TRUE(registrar->Deregister(*registration).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(registrar->Deregister(*registration)));
  EXPECT_EQ(fake_.deregistered.size(), 1u);
}

TEST_F(VerbsRegistrarTest, OnDemandIsRefusedWithWhatTheDeviceLacks) {
  const auto refusal = [this](Access access) {
    const absl::Status status = Create()->Register(range_, access).status();
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal(Access::kOnDemand), HasSubstr("the device has no on-demand paging;"));

  // Capabilities of a transport mean nothing without the general bit.
  fake_.attributes.odp_caps.per_transport_caps.rc_odp_caps = kOneSidedCaps;
  EXPECT_THAT(refusal(Access::kOnDemand), HasSubstr("the device has no on-demand paging;"));
  EXPECT_FALSE(Create()->limits().on_demand);

  GiveOnDemand(0);
  fake_.attributes.odp_caps.per_transport_caps.ud_odp_caps = kOneSidedCaps;
  EXPECT_THAT(refusal(Access::kOnDemand), HasSubstr("reliable connected"));
  GiveOnDemand(IBV_ODP_SUPPORT_SEND | IBV_ODP_SUPPORT_READ);
  EXPECT_THAT(refusal(Access::kOnDemand), HasSubstr("reliable connected"));
  EXPECT_FALSE(Create()->limits().on_demand);

  GiveOnDemand(kOneSidedCaps);
  EXPECT_THAT(refusal(Access::kOnDemand | Access::kLocalWrite | Access::kRemoteAtomic),
              HasSubstr("atomic"));
  EXPECT_TRUE(fake_.registered.empty());
  EXPECT_TRUE(Create()->Register(range_, Access::kOnDemand).ok());
}

TEST_F(VerbsRegistrarTest, SecretMemoryIsNeverRegisteredOnDemand) {
  GiveOnDemand(kOneSidedCaps);
  const auto registrar = Create();
  const int fd = static_cast<int>(syscall(SYS_memfd_secret, 0));
  if (fd < 0) GTEST_SKIP() << "no memfd_secret on this kernel, errno " << errno;
  ASSERT_EQ(ftruncate(fd, 8192), 0);
  // Secret pages in the middle of ordinary ones.
  void* space = mmap(nullptr, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(space, MAP_FAILED);
  char* start = static_cast<char*>(space);
  ASSERT_NE(mmap(start + 4096, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0),
            MAP_FAILED);
  const auto on_demand = [&](std::size_t offset, std::size_t length) {
    const auto range = Range::Of(start + offset, length);
    return registrar->Register(*range, Access::kOnDemand | Access::kLocalWrite).status();
  };
  for (const auto& status : {on_demand(4096, 8192), on_demand(0, 4097), on_demand(12287, 2)}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("memfd_secret"));
  }
  EXPECT_TRUE(fake_.registered.empty());
  EXPECT_TRUE(on_demand(0, 4096).ok());
  EXPECT_TRUE(on_demand(12288, 4096).ok());

  // Pinned registration is the kernel's to refuse, and it does so without harm.
  const auto range = Range::Of(start + 4096, 4096);
  EXPECT_TRUE(registrar->Register(*range, Access::kLocalWrite).ok());
  munmap(space, 5 * 4096);
  close(fd);
}

// What a child sees of its parent's registrar: 0 when it is inert, else which promise it broke.
int UseInChild(Registrar& registrar, Range range, Registration registration) {
  const absl::Status status = registrar.Register(range, Access::kLocalWrite).status();
  if (!absl::IsFailedPrecondition(status)) return 1;
  if (!device->registered.empty()) return 2;
  if (!registrar.Deregister(registration).ok()) return 3;
  if (!device->deregistered.empty()) return 4;
  return registration.handle == 0 ? 0 : 5;
}

TEST_F(VerbsRegistrarTest, InAForkedChildItTouchesNoDevice) {
  const auto registrar = Create();
  const auto registration = registrar->Register(range_, Access::kLocalWrite);
  ASSERT_TRUE(registration.ok());
  fake_.registered.clear();
  // A raw clone runs no atfork handler.
  for (const bool raw : {false, true}) {
    const auto child = raw ? static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) : fork();
    ASSERT_GE(child, 0);
    if (child == 0) _exit(UseInChild(*registrar, range_, *registration));
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0) << "raw clone: " << raw;
  }
  EXPECT_TRUE(registrar->Register(range_, Access::kLocalWrite).ok());  // The parent works on.
}

TEST(VerbsTable, LibibverbsIsComplete) {
  const VerbsTable& table = VerbsTable::Libibverbs();
  EXPECT_NE(table.reg_mr, nullptr);
  EXPECT_NE(table.dereg_mr, nullptr);
  EXPECT_NE(table.query_device_ex, nullptr);
}

}  // namespace
}  // namespace linchpin
