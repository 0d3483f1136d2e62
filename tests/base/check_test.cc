// A broken invariant ends the process and says where.
#include "lib/base/check.h"

#include "gtest/gtest.h"

namespace linchpin {
namespace {

TEST(CheckDeathTest, AbortsWithThePlaceAndTheCondition) {
  const int two = 2;
  EXPECT_DEATH(LINCHPIN_CHECK(two == 3), "check_test.cc:[0-9]+: CHECK failed: two == 3");
}

TEST(Check, EvaluatesItsConditionOnceAndGoesOn) {
  int count = 0;
  LINCHPIN_CHECK(++count == 1);
  EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace linchpin
