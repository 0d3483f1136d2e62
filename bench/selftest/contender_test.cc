// That every contender does the same work: what it leaves out would make it look fast.
#include <chrono>
#include <utility>

#include "gtest/gtest.h"

#include "bench/contenders/btree_contender.h"
#include "bench/contenders/linchpin_contender.h"
#include "bench/contenders/map_contender.h"
#include "bench/contenders/ucx_contender.h"
#include "bench/workload/hits.h"
#include "bench/workload/removals.h"
#include "linchpin/monitor.h"

namespace linchpin::bench {
namespace {

template <typename Cache>
class EachContender : public testing::Test {
 protected:
  void SetUp() override {
    if (!Cache::kAbsent.empty()) GTEST_SKIP() << Cache::kAbsent;
    const absl::Status watched = MemoryMonitor::Shared()->status();
    if (!watched.ok()) GTEST_SKIP() << watched;
  }
};

using Contenders = testing::Types<LinchpinContender, UcxContender, MapContender, BtreeContender>;
TYPED_TEST_SUITE(EachContender, Contenders);

TYPED_TEST(EachContender, RegistersEachRegionOnce) {
  const Regions regions = Regions::Mixed(100);
  TypeParam cache;
  for (int i = 0; i < 3; ++i) Fill(cache, regions);
  EXPECT_EQ(cache.device().registrations(), 100U);
  EXPECT_EQ(cache.device().deregistrations(), 0U);
}

TYPED_TEST(EachContender, KeepsWhatIsInvalidatedUntilItIsReleased) {
  const Regions regions = Regions::Strided(1);
  TypeParam cache;
  auto claim = cache.Acquire(regions[0]);
  cache.Invalidate(claim);
  EXPECT_EQ(cache.device().deregistrations(), 0U);
  auto fresh = cache.Acquire(regions[0]);
  EXPECT_EQ(cache.device().registrations(), 2U);
  cache.Release(std::move(claim));
  cache.Release(std::move(fresh));
  cache.Finish(regions.Span(0, 1));
  EXPECT_GE(cache.device().deregistrations(), 1U);
}

TYPED_TEST(EachContender, HasDeregisteredAllWhenRemovalsReturn) {
  const Regions regions = Regions::Strided(200);
  TypeParam cache;
  Fill(cache, regions);
  RemoveInBatches(cache, regions, regions.size());
  EXPECT_EQ(cache.device().registrations(), 200U);
  EXPECT_EQ(cache.device().deregistrations(), 200U);
  Fill(cache, regions);
  RemoveOneByOne(cache, regions, regions.size());
  EXPECT_EQ(cache.device().registrations(), 400U);
  EXPECT_EQ(cache.device().deregistrations(), 400U);
}

TYPED_TEST(EachContender, RegistersOnlyTheRemovedWhileAnotherHits) {
  const Regions regions = Regions::Strided(100);
  const Regions hot = Regions::Strided(1);
  TypeParam cache;
  Crew crew(2);
  cache.Hit(hot[0]);
  Fill(cache, regions);
  WhileAnotherHits(cache, hot[0], crew, std::chrono::microseconds(1), [&] {
    RemoveInBatches(cache, regions, regions.size());
    return 0.0;
  });
  EXPECT_EQ(cache.device().registrations(), 101U);
  EXPECT_EQ(cache.device().deregistrations(), 100U);
}

}  // namespace
}  // namespace linchpin::bench
