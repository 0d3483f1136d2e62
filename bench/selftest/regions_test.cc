// Layouts of requests: what they promise so that no cache merges them.
#include "bench/workload/regions.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace linchpin::bench {
namespace {

std::uintptr_t PageOf(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) / kPage;
}

// A cache of whole pages may merge what shares a page, and the benchmark would measure that.
void ExpectAPageBetween(const Regions& regions) {
  for (std::size_t i = 1; i < regions.size(); ++i) {
    const Request& before = regions[i - 1];
    const auto* const last = static_cast<const std::byte*>(before.address) + before.length - 1;
    ASSERT_GE(PageOf(regions[i].address), PageOf(last) + 2) << "region " << i;
  }
}

TEST(Regions, AreAPageApart) {
  ExpectAPageBetween(Regions::Strided(1000));
  ExpectAPageBetween(Regions::Mixed(1000));
  ExpectAPageBetween(Regions::Unaligned(1000));
}

TEST(Regions, CanBeTouched) {
  const Regions regions = Regions::Mixed(100);
  const Request& last = regions[99];
  auto* const bytes = static_cast<std::byte*>(last.address);
  bytes[0] = bytes[last.length - 1] = std::byte{1};
  EXPECT_EQ(bytes[0], bytes[last.length - 1]);
}

TEST(Regions, MixedAreOfManySizes) {
  const Regions regions = Regions::Mixed(1000);
  std::set<std::size_t> sizes;
  for (std::size_t i = 0; i < regions.size(); ++i) sizes.insert(regions[i].length);
  EXPECT_EQ(*sizes.begin(), kPage);
  EXPECT_GT(*sizes.rbegin(), std::size_t{32} << 20);
  EXPECT_LE(*sizes.rbegin(), std::size_t{64} << 20);
  EXPECT_GT(sizes.size(), 100U);
}

TEST(RequestStream, HotIsOneRegion) {
  const Regions regions = Regions::Strided(10);
  RequestStream stream = RequestStream::Hot(regions, 4);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(stream.Next().address, regions[4].address);
}

TEST(RequestStream, RandomReachesEveryRegion) {
  const Regions regions = Regions::Strided(100);
  RequestStream stream = RequestStream::Random(regions, 1);
  std::set<const void*> seen;
  for (int i = 0; i < 10'000; ++i) seen.insert(stream.Next().address);
  EXPECT_EQ(seen.size(), 100U);
}

// What one thread writes for each hit would otherwise be what slows down the other's.
TEST(RequestStream, SharesNoCacheLineWithTheNext) {
  const Regions regions = Regions::Strided(10);
  const std::vector<RequestStream> streams(2, RequestStream::Hot(regions, 0));
  const auto line = [](const void* at) { return reinterpret_cast<std::uintptr_t>(at) / 64; };
  const auto* const last_byte = reinterpret_cast<const std::byte*>(&streams[1]) - 1;
  EXPECT_NE(line(&streams[1]), line(last_byte));
}

}  // namespace
}  // namespace linchpin::bench
