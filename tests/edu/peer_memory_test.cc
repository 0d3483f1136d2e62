// Lists of this machine's memory and a peer device's together: the peer's entries reach the engine
// as the bus addresses that they are, with an IOMMU and without, and the bytes are there.
#include "tests/edu/peer_memory.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "linchpin/dma_map.h"
#include "linchpin/phyr.h"
#include "linchpin/scatter_list.h"
#include "tests/edu/engine_segments.h"
#include "tests/edu/fixture.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

constexpr PhyrFlags kHeld = PhyrFlags::kPinned | PhyrFlags::kLongterm;

// The list: some of the memory, some of the peer across a border of pages, some of the memory.
constexpr std::size_t kFirstAt = 100;
constexpr std::size_t kFirstBytes = 1500;
constexpr std::size_t kPeerAt = 3 * kPage - 333;
constexpr std::size_t kPeerBytes = kPage + 700;
constexpr std::size_t kLastAt = 2 * kPage + 7;
constexpr std::size_t kLastBytes = 901;
constexpr std::size_t kAllBytes = kFirstBytes + kPeerBytes + kLastBytes;

// Whether the device sees memory through an IOMMU.
class PeerLists : public EduTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    EduTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    auto peer = PeerMemory::Open(owned_);
    ASSERT_TRUE(peer.ok()) << peer.status();
    peer_ = *std::move(peer);
    memory_ = Memory(PageKind::kSmall, 4 * kPage);
    straight_ = Memory(PageKind::kSmall, 4 * kPage);
    ASSERT_TRUE(memory_ && straight_);
    Fill(memory_->bytes(), random_);
    Fill(straight_->bytes(), random_);
    Fill(peer_->bytes().first(8 * kPage), random_);
    memory_pin_ = Pin(memory_->range());
    straight_pin_ = Pin(straight_->range());
    ASSERT_TRUE(memory_pin_ && straight_pin_);
    limits_.mask = EduEngine::kAddressMask;
    limits_.max_segment = kPage;
    if (!GetParam()) return;
    // Below what any device has as its memory: no address may mean both.
    auto space = IovaSpace::Create({.first = kPage, .last = (1 << 20) - 1, .granule = kPage});
    ASSERT_TRUE(space.ok()) << space.status();
    limits_.iova = *space;
  }

  void TearDown() override {
    memory_pin_.reset();
    straight_pin_.reset();
    peer_.reset();
    EduTest::TearDown();
  }

  PhyrList List() const {
    PhyrList list;
    const auto append = [&](std::size_t offset, std::size_t bytes) {
      const auto part = ReadPhyrs(memory_->range(offset, bytes), {.add = kHeld});
      ASSERT_TRUE(part.ok()) << part.status();
      list.Append(*part);
    };
    append(kFirstAt, kFirstBytes);
    list.Append(peer_->Entry(kPeerAt, kPeerBytes));
    append(kLastAt, kLastBytes);
    return list;
  }

  // Copies between the list's segments and the beginning of the other memory, and undoes the map.
  void Copy(TransferDirection direction) {
    auto mapping = DmaMap(List(), limits_);
    ASSERT_TRUE(mapping.ok()) << mapping.status();
    ASSERT_EQ(CheckLimitsKept(*mapping, limits_), absl::OkStatus());
    ExpectThePeerUntranslated(*mapping);
    const auto segments = EngineSegments(*mapping);
    ASSERT_TRUE(segments.ok()) << segments.status();
    std::vector<BusRange> straight;
    for (std::size_t at = 0; at < kAllBytes; at += kPage) {
      straight.push_back({straight_pin_->BusAddress(at), std::min(kPage, kAllBytes - at)});
    }
    const bool from_list = direction == TransferDirection::kDeviceReads;
    ASSERT_EQ(
        CopyThrough(engine(), from_list ? *segments : straight, from_list ? straight : *segments),
        absl::OkStatus());
    DmaUnmap(*mapping);
    if (limits_.iova != nullptr) {
      EXPECT_EQ(limits_.iova->bytes_allocated(), 0U);
    }
  }

  void ExpectThePeerUntranslated(const DmaMapping& mapping) const {
    std::uint64_t next = peer_->bus().address + kPeerAt;
    for (const Phyr& segment : mapping.segments()) {
      if (!segment.Has(PhyrFlags::kBusAddress)) continue;
      EXPECT_EQ(segment.address(), next);
      next += segment.length();
    }
    EXPECT_EQ(next, peer_->bus().address + kPeerAt + kPeerBytes);
    EXPECT_EQ(mapping.translations().empty(), limits_.iova == nullptr);
    for (const DmaTranslation& each : mapping.translations()) {
      EXPECT_FALSE(each.memory.Has(PhyrFlags::kBusAddress));
    }
  }

  // The bytes of the list, one after another, as the CPU sees them.
  std::vector<std::byte> OfList() const {
    std::vector<std::byte> all;
    const auto append = [&all](std::span<const std::byte> bytes) {
      all.insert(all.end(), bytes.begin(), bytes.end());
    };
    append(memory_->bytes().subspan(kFirstAt, kFirstBytes));
    append(peer_->bytes().subspan(kPeerAt, kPeerBytes));
    append(memory_->bytes().subspan(kLastAt, kLastBytes));
    return all;
  }

  std::unique_ptr<PeerMemory> peer_;
  std::unique_ptr<PageMemory> memory_;
  std::unique_ptr<PageMemory> straight_;
  std::unique_ptr<PinnedRange> memory_pin_;
  std::unique_ptr<PinnedRange> straight_pin_;
  DmaLimits limits_;
};

TEST_P(PeerLists, AreGatheredFromBoth) {
  const std::vector<std::byte> sent = OfList();
  ASSERT_NO_FATAL_FAILURE(Copy(TransferDirection::kDeviceReads));
  EXPECT_EQ(FirstDifference(straight_->bytes().first(kAllBytes), sent), kAllBytes);
}

TEST_P(PeerLists, AreScatteredToBothAndNothingElseChanges) {
  const auto peer_bytes = peer_->bytes().first(8 * kPage);
  std::vector<std::byte> peer(peer_bytes.begin(), peer_bytes.end());
  std::vector<std::byte> memory(memory_->bytes().begin(), memory_->bytes().end());
  const std::byte* const sent = straight_->bytes().data();
  std::memcpy(memory.data() + kFirstAt, sent, kFirstBytes);
  std::memcpy(peer.data() + kPeerAt, sent + kFirstBytes, kPeerBytes);
  std::memcpy(memory.data() + kLastAt, sent + kFirstBytes + kPeerBytes, kLastBytes);
  ASSERT_NO_FATAL_FAILURE(Copy(TransferDirection::kDeviceWrites));
  EXPECT_EQ(FirstDifference(peer_bytes, peer), peer.size());
  EXPECT_EQ(FirstDifference(memory_->bytes(), memory), memory.size());
}

// The kernel leaves it out of the page map, to root too: so an application makes the entry.
TEST_P(PeerLists, APeersMappingShowsThatItIsADevicesAndNotWhere) {
  const auto start = reinterpret_cast<std::uintptr_t>(peer_->bytes().data());
  const auto list = ReadPhyrs({start + 10, start + kPage});
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 1U);
  EXPECT_EQ((*list)[0],
            Phyr(kPage + 10, kPage - 10,
                 PhyrFlags::kDevice | PhyrFlags::kWritable | PhyrFlags::kUnknownAddress));
  EXPECT_TRUE(absl::IsFailedPrecondition(DmaMap(*list, limits_).status()));
}

std::string How(const ::testing::TestParamInfo<bool>& through_iommu) {
  return through_iommu.param ? "ThroughAnIommu" : "Directly";
}

INSTANTIATE_TEST_SUITE_P(Edu, PeerLists, ::testing::Bool(), How);

}  // namespace
}  // namespace linchpin::testing
