// From errno to status: the code, the name, the range and the remedy.
#include "lib/base/error.h"

#include <cerrno>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kLastErrno = EHWPOISON;

// What does not stand here is Internal.
const std::map<int, absl::StatusCode>& Codes() {
  using absl::StatusCode;
  static const std::map<int, StatusCode> codes{
      {ENOMEM, StatusCode::kResourceExhausted},  {ENOSPC, StatusCode::kResourceExhausted},
      {EMFILE, StatusCode::kResourceExhausted},  {ENFILE, StatusCode::kResourceExhausted},
      {EDQUOT, StatusCode::kResourceExhausted},  {EAGAIN, StatusCode::kResourceExhausted},
      {EFAULT, StatusCode::kFailedPrecondition}, {EPERM, StatusCode::kPermissionDenied},
      {EACCES, StatusCode::kPermissionDenied},   {EINVAL, StatusCode::kInvalidArgument},
      {EOPNOTSUPP, StatusCode::kUnimplemented},  {ENOSYS, StatusCode::kUnimplemented},
      {ENODEV, StatusCode::kUnavailable},        {ENXIO, StatusCode::kUnavailable},
  };
  return codes;
}

TEST(Error, EveryErrnoKeepsItsMeaningAsACode) {
  for (int error = 1; error <= kLastErrno; ++error) {
    const auto known = Codes().find(error);
    const auto expected = known != Codes().end() ? known->second : absl::StatusCode::kInternal;
    EXPECT_EQ(ErrnoToStatus(error, "doing", "do otherwise").code(), expected) << ErrnoName(error);
    EXPECT_EQ(RegistrationError(error, "registration", {0x1000, 0x2000}).code(), expected)
        << ErrnoName(error);
  }
}

TEST(Error, EveryErrnoIsNamedAndDescribed) {
  for (int error = 1; error <= kLastErrno; ++error) {
    if (error == 41 || error == 58) continue;  // Linux has no such errno.
    EXPECT_THAT(ErrnoName(error), StartsWith("E")) << error;
    EXPECT_THAT(ErrnoText(error), StartsWith(ErrnoName(error) + " (")) << error;
  }
  EXPECT_EQ(ErrnoName(EFAULT), "EFAULT");
  EXPECT_EQ(ErrnoText(EFAULT), "EFAULT (Bad address)");
}

TEST(Error, AnUnknownErrnoIsNamedByItsNumber) {
  EXPECT_EQ(ErrnoName(1234), "errno 1234");
  EXPECT_EQ(ErrnoText(1234), "errno 1234");
  EXPECT_EQ(ErrnoText(-1), "errno -1");
  EXPECT_EQ(ErrnoToStatus(1234, "doing", "look").code(), absl::StatusCode::kInternal);
}

TEST(Error, TheMessageSaysWhatFailedWhyAndWhatToDo) {
  const absl::Status status = ErrnoToStatus(EMFILE, "opening the ring", "raise RLIMIT_NOFILE");
  EXPECT_EQ(std::string(status.message()),
            "opening the ring: EMFILE (Too many open files); raise RLIMIT_NOFILE");
}

TEST(Error, ARegistrationErrorNamesTheRange) {
  const absl::Status status = RegistrationError(EFAULT, "ibv_reg_mr", {0x1000, 0x3000});
  EXPECT_THAT(std::string(status.message()),
              StartsWith("ibv_reg_mr of [0x1000, 0x3000) 8192 bytes: EFAULT (Bad address); "));
}

TEST(Error, EveryRegistrationErrorHasARemedy) {
  const std::map<int, const char*> remedies{
      {ENOMEM, "RLIMIT_MEMLOCK"}, {EFAULT, "map the whole"},     {EPERM, "CAP_IPC_LOCK"},
      {EINVAL, "supports"},       {EOPNOTSUPP, "cannot regist"}, {EIO, "kernel log"}};
  for (const auto& [error, remedy] : remedies) {
    const absl::Status status = RegistrationError(error, "registration", {0x1000, 0x2000});
    EXPECT_THAT(std::string(status.message()), HasSubstr(remedy)) << ErrnoName(error);
  }
}

TEST(Error, TheUsualRemedyCanBeTakenAwayFromEachRegistrationError) {
  for (int error = 1; error <= kLastErrno; ++error) {
    const absl::Status usual = RegistrationError(error, "registration", {0x1000, 0x2000});
    const absl::Status bare = WithoutUsualRemedy(usual);
    EXPECT_EQ(bare.code(), usual.code());
    EXPECT_EQ(std::string(bare.message()),
              "registration of [0x1000, 0x2000) 4096 bytes: " + ErrnoText(error));
    EXPECT_EQ(WithoutUsualRemedy(bare), bare);
  }
  const absl::Status other = ErrnoToStatus(ENOMEM, "mapping", "free memory");
  EXPECT_EQ(WithoutUsualRemedy(other), other);
  EXPECT_TRUE(WithoutUsualRemedy(absl::OkStatus()).ok());
}

}  // namespace
}  // namespace linchpin
