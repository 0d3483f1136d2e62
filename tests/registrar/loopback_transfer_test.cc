// Tests that the loopback device moves the right bytes: whatever the length, the alignment, the
// number of extents, and the rings they lie in; and that it moves the pinned pages.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <vector>

#include "lib/base/fd.h"
#include "lib/registrar/loopback/key_table.h"
#include "tests/registrar/loopback_fixture.h"

namespace linchpin {
namespace {

using testing::FillRandomly;
using testing::kAllRights;
using testing::kPage;
using testing::LoopbackTest;
using testing::Mapped;
using testing::Text;

class LoopbackTransfer : public LoopbackTest {
 protected:
  // From now on consecutive registrations lie in different rings.
  void UseSeveralRings() {
    for (int i = 0; i < 300; ++i) Register(filler_);
  }

  const Mapped filler_{kPage};
};

TEST_F(LoopbackTransfer, AWriteMovesExactlyTheBytesOfAnyLength) {
  const Mapped from(6 << 20);
  const Mapped to(6 << 20);
  const Registration source = Register(from);
  const Registration sink = Register(to);
  FillRandomly({from.data(), from.size()}, 1);
  for (const std::size_t length : std::initializer_list<std::size_t>{
           1, 7, 4095, 4096, 4097, 65536, 262144, 262145, 1048579, 5242881}) {
    std::memset(to.data(), 0, to.size());
    ASSERT_EQ(Write(Local(source, 13, length), Remote(sink, 1021)), Completion::kSuccess);
    EXPECT_EQ(std::memcmp(to.data() + 1021, from.data() + 13, length), 0) << length;
    const auto is_zero = [](char byte) { return byte == 0; };
    EXPECT_TRUE(std::all_of(to.data(), to.data() + 1021, is_zero)) << length;
    EXPECT_TRUE(std::all_of(to.data() + 1021 + length, to.data() + to.size(), is_zero)) << length;
  }
}

TEST_F(LoopbackTransfer, AWriteGathersManyExtentsInOrder) {
  const Mapped from(4 << 20);
  const Mapped to(4 << 20);
  const Registration source = Register(from);
  const Registration sink = Register(to);
  FillRandomly({from.data(), from.size()}, 2);
  std::minstd_rand random(3);
  std::vector<LocalExtent> extents;
  std::string expected;
  for (int i = 0; i < 700; ++i) {
    // Many are short and waste most of a page of the pipe; some have no byte at all.
    const std::size_t length = i % 5 == 0 ? random() % 9000 : random() % 40;
    const std::size_t offset = random() % (from.size() - length);
    extents.push_back(Local(source, offset, length));
    expected += Text(from.data() + offset, length);
  }
  ASSERT_EQ(device_->Write(extents, Remote(sink, 5)), Completion::kSuccess);
  EXPECT_TRUE(Text(to.data() + 5, expected.size()) == expected);
  EXPECT_EQ(to.data()[4], 0);
  EXPECT_EQ(to.data()[5 + expected.size()], 0);
}

TEST_F(LoopbackTransfer, AReadScattersIntoExtentsOfAllRings) {
  const Mapped from(1 << 20);
  const Mapped to(1 << 20);
  const Registration source = Register(from);
  FillRandomly({from.data(), from.size()}, 4);
  UseSeveralRings();
  std::vector<Registration> sinks;
  std::vector<LocalExtent> extents;
  for (std::size_t start = 0; start + 60000 <= to.size(); start += 60000) {
    sinks.push_back(Register({to.start() + start, to.start() + start + 60000}));
    extents.push_back(Local(sinks.back(), 17, 50001));
  }
  ASSERT_EQ(device_->Read(extents, Remote(source, 3)), Completion::kSuccess);
  for (std::size_t i = 0; i < extents.size(); ++i) {
    EXPECT_EQ(std::memcmp(extents[i].address, from.data() + 3 + i * 50001, 50001), 0) << i;
    EXPECT_EQ(to.data()[i * 60000 + 16], 0) << i;
    EXPECT_EQ(to.data()[i * 60000 + 17 + 50001], 0) << i;
  }
}

TEST_F(LoopbackTransfer, RandomTransfersAgreeWithMemcpy) {
  const auto seed = static_cast<std::uint32_t>(std::random_device()());
  SCOPED_TRACE(seed);
  std::minstd_rand random(seed);
  constexpr std::size_t kBytes = 1 << 20;
  constexpr std::size_t kHalf = kBytes / 2;  // Local bytes lie below, remote ones above.
  const Mapped memory(kBytes);
  FillRandomly({memory.data(), kBytes}, seed);
  std::string expected = Text(memory.data(), kBytes);
  UseSeveralRings();
  const std::vector<Registration> views = {Register(memory), Register(memory), Register(memory)};
  for (int round = 0; round < 300; ++round) {
    std::vector<LocalExtent> extents;
    const bool is_write = random() % 2 == 0;
    std::size_t remote = kHalf + random() % (kHalf / 2);
    const RemoteExtent begin = Remote(views[random() % 3], remote);
    std::size_t local = random() % 1000;
    for (std::uint64_t i = 0; i <= random() % 100; ++i) {
      const std::size_t length = random() % (random() % 8 == 0 ? 40000 : 200);
      if (local + length > kHalf || remote + length > kBytes) break;
      extents.push_back(Local(views[random() % 3], local, length));
      char* const text = expected.data();
      std::memcpy(text + (is_write ? remote : local), text + (is_write ? local : remote), length);
      remote += length;
      local += length + random() % 1000;
    }
    const Completion completion =
        is_write ? device_->Write(extents, begin) : device_->Read(extents, begin);
    ASSERT_EQ(completion, Completion::kSuccess) << round;
    ASSERT_TRUE(Text(memory.data(), kBytes) == expected) << round;
  }
}

TEST_F(LoopbackTransfer, OverlappingBytesOfOneChunkArriveAsTheyWere) {
  const Mapped memory(64 << 10);
  const Registration region = Register(memory);
  FillRandomly({memory.data(), memory.size()}, 5);
  std::string expected = Text(memory.data(), memory.size());
  std::memmove(expected.data() + 100, expected.data(), 40000);
  ASSERT_EQ(Write(Local(region, 0, 40000), Remote(region, 100)), Completion::kSuccess);
  EXPECT_TRUE(Text(memory.data(), memory.size()) == expected);
}

// What a cache that misses an munmap does to its user.
TEST_F(LoopbackTransfer, AStaleRegistrationSendsTheOldBytes) {
  const Mapped from(kPage);
  const Mapped to(kPage);
  const Registration source = Register(from);
  const Registration sink = Register(to);
  std::strcpy(from.data(), "OLD");
  ASSERT_EQ(munmap(from.data(), kPage), 0);
  ASSERT_EQ(mmap(from.data(), kPage, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
            from.data());
  std::strcpy(from.data(), "NEW");
  ASSERT_EQ(Write(Local(source, 0, 4), Remote(sink)), Completion::kSuccess);
  EXPECT_STREQ(to.data(), "OLD");
}

TEST_F(LoopbackTransfer, AStaleRegistrationReceivesIntoTheOldPages) {
  const Mapped from(kPage);
  const Mapped to(kPage);
  const Registration source = Register(from);
  const Registration sink = Register(to);
  std::strcpy(from.data(), "SENT");
  ASSERT_EQ(madvise(to.data(), kPage, MADV_DONTNEED), 0);
  ASSERT_EQ(Write(Local(source, 0, 5), Remote(sink)), Completion::kSuccess);
  EXPECT_STREQ(to.data(), "");  // A new, zeroed page.
}

TEST_F(LoopbackTransfer, TransfersGoOnAfterTheMemoryIsUnmapped) {
  const Mapped to(kPage);
  const Registration sink = Register(to);
  Registration source;
  {
    const Mapped from(kPage);
    std::strcpy(from.data(), "GONE");
    source = Register(from);
  }
  ASSERT_EQ(Write(Local(source, 0, 5), Remote(sink)), Completion::kSuccess);
  EXPECT_STREQ(to.data(), "GONE");
}

TEST_F(LoopbackTransfer, BytesReachAMemfdBehindSharedMemory) {
  const Fd file(memfd_create("loopback-test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), kPage), 0);
  void* shared = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(shared, MAP_FAILED);
  const auto start = reinterpret_cast<std::uintptr_t>(shared);
  const Mapped from(kPage);
  std::strcpy(from.data(), "SHARED");
  const Registration source = Register(from);
  const Registration sink = Register({start, start + kPage});
  ASSERT_EQ(Write(Local(source, 0, 7), Remote(sink)), Completion::kSuccess);
  char text[7] = {};
  EXPECT_EQ(pread(file.get(), text, sizeof text, 0), 7);
  EXPECT_STREQ(text, "SHARED");
  munmap(shared, kPage);
}

TEST_F(LoopbackTransfer, ARegionThatCrossesAPieceIsOneRegion) {
  constexpr std::size_t kPiece = loopback::Region::kPieceBytes;
  const Mapped room(3 * kPiece);  // Hardly touched.
  const std::uintptr_t border = (room.start() / kPiece + 2) * kPiece;
  const Mapped other(8 * kPage);
  const Registration crossing = Register({border - 3 * kPage - 5, border + 2 * kPage + 9});
  const Registration plain = Register(other);
  ASSERT_EQ(crossing.range.size(), 5 * kPage + 14);
  auto* const start = reinterpret_cast<char*>(crossing.range.start);
  FillRandomly({start, crossing.range.size()}, 6);
  ASSERT_EQ(Write(Local(crossing, 0, crossing.range.size()), Remote(plain, 1)),
            Completion::kSuccess);
  EXPECT_EQ(std::memcmp(other.data() + 1, start, crossing.range.size()), 0);
  FillRandomly({other.data(), other.size()}, 7);
  ASSERT_EQ(Write(Local(plain, 0, 2 * kPage), Remote(crossing, 2 * kPage + 3)),
            Completion::kSuccess);
  EXPECT_EQ(std::memcmp(start + 2 * kPage + 3, other.data(), 2 * kPage), 0);
  ASSERT_EQ(Write(Local(plain, 0, 9), Remote(crossing, crossing.range.size() - 9)),
            Completion::kSuccess);
  EXPECT_EQ(std::memcmp(start + crossing.range.size() - 9, other.data(), 9), 0);
}

TEST_F(LoopbackTransfer, ARegionAboveOneGibibyteIsOneRegion) {
  constexpr std::size_t kBytes = (std::size_t{1} << 30) + (std::size_t{256} << 20);
  std::ifstream info("/proc/meminfo");
  std::string word;
  std::uint64_t available_kb = 0;
  while (info >> word && word != "MemAvailable:") {
  }
  info >> available_kb;
  if (available_kb < (4U << 20)) GTEST_SKIP() << "less than 4 GiB of memory available";
  const Mapped memory(kBytes);
  const Mapped other(3 << 20);
  Registration large = Register(memory);
  const Registration small = Register(other);
  EXPECT_EQ(testing::PinnedBytes() - pinned_at_start_, kBytes + other.size());
  FillRandomly({other.data(), other.size()}, 8);
  // Across the first GiB, where one buffer of the kernel's would have ended.
  const std::size_t offset = (std::size_t{1} << 30) - (1 << 20) - 77;
  ASSERT_EQ(Write(Local(small, 0, other.size()), Remote(large, offset)), Completion::kSuccess);
  EXPECT_EQ(std::memcmp(memory.data() + offset, other.data(), other.size()), 0);
  // Several pieces in one transfer, from one side of that GiB to the other.
  const std::size_t length = std::size_t{150} << 20;
  ASSERT_EQ(Read(Local(large, 33, length), Remote(large, kBytes - length)), Completion::kSuccess);
  EXPECT_EQ(std::memcmp(memory.data() + 33, memory.data() + kBytes - length, length), 0);
  ASSERT_EQ(Write(Local(large, offset, 5 << 20), Remote(large, 77)), Completion::kSuccess);
  EXPECT_EQ(std::memcmp(memory.data() + 77, memory.data() + offset, 5 << 20), 0);
  EXPECT_EQ(std::memcmp(memory.data() + 77, other.data(), other.size()), 0);
  ASSERT_TRUE(device_->Deregister(large).ok());
  EXPECT_TRUE(testing::WaitFor("the large region unpinned", [&] {
    return testing::PinnedBytes() - pinned_at_start_ == other.size();
  }));
}

}  // namespace
}  // namespace linchpin
