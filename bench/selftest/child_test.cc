// Measurements in processes of their own.
#include "bench/harness/child.h"

#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::bench {
namespace {

TEST(RunInChild, BringsBackWhatWasMeasuredElsewhere) {
  const std::vector<double> values = RunInChild([] {
    return std::vector<double>{1.5, static_cast<double>(getpid())};
  });
  ASSERT_EQ(values.size(), 2U);
  EXPECT_EQ(values[0], 1.5);
  EXPECT_NE(values[1], static_cast<double>(getpid()));
}

TEST(RunInChild, EndsTheProcessWhenTheChildFails) {
  EXPECT_EXIT(RunInChild([]() -> std::vector<double> { _exit(3); }), testing::ExitedWithCode(2),
              "a measuring child failed");
}

TEST(ResidentBytes, GrowsByWhatIsTouched) {
  constexpr std::size_t kBytes = std::size_t{32} << 20;
  const double before = ResidentBytes();
  std::vector<char> touched(kBytes);
  std::memset(touched.data(), 1, kBytes);
  const double grown = ResidentBytes() - before;
  EXPECT_EQ(touched[kBytes / 2], 1);
  EXPECT_GE(grown, 0.9 * kBytes);
  EXPECT_LE(grown, 1.5 * kBytes);
}

}  // namespace
}  // namespace linchpin::bench
