// The rights of a registration: names, and which combinations are refused.
#include "linchpin/access.h"

#include <infiniband/verbs.h>

#include <cstdint>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace linchpin {
namespace {

using ::testing::HasSubstr;

TEST(Access, EachBitIsTheOneOfVerbs) {
  EXPECT_EQ(static_cast<int>(Access::kLocalWrite), IBV_ACCESS_LOCAL_WRITE);
  EXPECT_EQ(static_cast<int>(Access::kRemoteWrite), IBV_ACCESS_REMOTE_WRITE);
  EXPECT_EQ(static_cast<int>(Access::kRemoteRead), IBV_ACCESS_REMOTE_READ);
  EXPECT_EQ(static_cast<int>(Access::kRemoteAtomic), IBV_ACCESS_REMOTE_ATOMIC);
  EXPECT_EQ(static_cast<int>(Access::kMwBind), IBV_ACCESS_MW_BIND);
  EXPECT_EQ(static_cast<int>(Access::kOnDemand), IBV_ACCESS_ON_DEMAND);
  EXPECT_EQ(static_cast<int>(Access::kRelaxedOrdering), IBV_ACCESS_RELAXED_ORDERING);
}

TEST(Access, NamesItsBits) {
  EXPECT_EQ(ToString(Access::kLocalRead), "LocalRead");
  EXPECT_EQ(ToString(Access::kLocalWrite | Access::kRemoteRead), "LocalWrite|RemoteRead");
  EXPECT_EQ(ToString(kKnownAccess),
            "LocalWrite|RemoteWrite|RemoteRead|RemoteAtomic|MwBind|OnDemand|RelaxedOrdering");
}

TEST(Access, NamesUnknownBitsInHexadecimal) {
  EXPECT_EQ(ToString(static_cast<Access>(0x80)), "0x80");
  EXPECT_EQ(ToString(static_cast<Access>(0x8000'0001)), "LocalWrite|0x80000000");
}

TEST(Access, EachKnownBitIsValidWithLocalWriteAndEachOtherIsRefused) {
  for (std::uint32_t shift = 0; shift < 32; ++shift) {
    const auto bit = static_cast<Access>(std::uint32_t{1} << shift);
    const absl::Status status = Validate(bit | Access::kLocalWrite);
    if (Any(bit & kKnownAccess)) {
      EXPECT_TRUE(status.ok()) << status;
    } else {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << "bit " << shift;
      EXPECT_THAT(std::string(status.message()), HasSubstr(ToString(bit)));
    }
  }
}

TEST(Access, AnUnknownBitIsRefusedBesideKnownOnes) {
  const absl::Status status = Validate(kKnownAccess | static_cast<Access>(0x20));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("0x20"));
}

TEST(Access, APeerMayNotWriteWhatTheDeviceMayNot) {
  for (const Access peer :
       {Access::kRemoteWrite, Access::kRemoteAtomic, Access::kRemoteWrite | Access::kRemoteRead}) {
    const absl::Status status = Validate(peer);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << ToString(peer);
    EXPECT_THAT(std::string(status.message()), HasSubstr("add Access::kLocalWrite"));
    EXPECT_TRUE(Validate(peer | Access::kLocalWrite).ok()) << ToString(peer);
  }
}

TEST(Access, ReadingNeedsNoLocalWrite) {
  EXPECT_TRUE(Validate(Access::kLocalRead).ok());
  EXPECT_TRUE(Validate(Access::kRemoteRead).ok());
  EXPECT_TRUE(Validate(Access::kRemoteRead | Access::kRelaxedOrdering).ok());
}

}  // namespace
}  // namespace linchpin
