// Which of its two pairs a barrier is. That either orders is
// tests/race/store_buffer_litmus_test.cc.
#include "lib/base/barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "gtest/gtest.h"

#include "tests/testing/child.h"

namespace linchpin {
namespace {

using testing::RunInChild;

// MEMBARRIER_CMD_QUERY asks without registering anything.
bool KernelHasMembarrier() {
  const auto commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  return commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0;
}

TEST(Barrier, IsAsymmetricWhereTheKernelHasMembarrier) {
  const Barrier barrier;
  EXPECT_EQ(barrier.asymmetric(), KernelHasMembarrier());
  barrier.Light();
  barrier.Heavy();
}

TEST(Barrier, IsAPairOfFencesWhereMembarrierIsRefused) {
  Barrier::RefuseForTest(true);
  const Barrier refused;
  Barrier::RefuseForTest(false);
  EXPECT_FALSE(refused.asymmetric());
  refused.Light();
  refused.Heavy();
  EXPECT_EQ(Barrier().asymmetric(), KernelHasMembarrier()) << "the refusal is over";
}

TEST(Barrier, KeepsItsKindWhenLaterOnesAreRefused) {
  const Barrier before;
  Barrier::RefuseForTest(true);
  EXPECT_EQ(before.asymmetric(), KernelHasMembarrier());
  before.Heavy();
  Barrier::RefuseForTest(false);
}

// Heavy() aborts where the process has not registered, so a child that returns has inherited it.
TEST(Barrier, IsInheritedByAForkedChild) {
  const Barrier barrier;
  EXPECT_EQ(RunInChild([&] {
              barrier.Heavy();
              return Barrier().asymmetric() == barrier.asymmetric() ? std::string()
                                                                    : "of another kind";
            }),
            "");
}

}  // namespace
}  // namespace linchpin
