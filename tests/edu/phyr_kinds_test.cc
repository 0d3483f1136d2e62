// A phyr list names the memory that its addresses have: engines fetch and store the bytes, for each
// kind of page, wherever the range begins and ends. The other side of each copy goes by frames that
// the test has looked up itself.
#include <cstring>
#include <string>
#include <vector>

#include "linchpin/dma_map.h"
#include "linchpin/phyr.h"
#include "tests/edu/engine_segments.h"
#include "tests/edu/fixture.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

constexpr std::size_t kBytes = 2 * kHugePage;
constexpr PhyrFlags kHeld = PhyrFlags::kPinned | PhyrFlags::kLongterm;
const DmaLimits kEngineLimits = {.mask = EduEngine::kAddressMask, .max_segment = kPage};

// Bytes to copy, and where from and to. No two of these touch in the target.
struct Copy {
  std::size_t from;
  std::size_t to;
  std::size_t bytes;
};

const std::vector<Copy> kCopies = {
    {0, 0, kPage},                                // A page.
    {7 * kPage + 3, kPage + 1, 1},                // A byte.
    {9 * kPage - 1, 3 * kPage - 2, 3},            // Across a border between pages, twice.
    {11, 5 * kPage + 100, 2 * kPage + 77},        // Unaligned at both ends, and differently.
    {64 * kPage, kHugePage - 1500, 3001},         // Into the next huge page,
    {kHugePage - 1001, 64 * kPage + 5, 2001},     // and from one into the next.
    {kBytes - 334, kBytes - 333, 333},            // To the last byte,
    {kBytes - kPage, kBytes - 2 * kPage, kPage},  // and a last page.
};

class PhyrsOfEachKind : public EduTest, public ::testing::WithParamInterface<PageKind> {
 protected:
  void SetUp() override {
    EduTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    source_ = Memory(GetParam(), kBytes);
    target_ = Memory(GetParam(), kBytes);
    ASSERT_TRUE(source_ && target_);
    Fill(source_->bytes(), random_);
    Fill(target_->bytes(), random_);
    source_pin_ = Pin(source_->range());
    target_pin_ = Pin(target_->range());
    ASSERT_TRUE(source_pin_ && target_pin_);
    ASSERT_EQ(source_->CheckKind(source_pin_->frames()), absl::OkStatus());
    ASSERT_EQ(target_->CheckKind(target_pin_->frames()), absl::OkStatus());
  }
  void TearDown() override {
    source_pin_.reset();
    target_pin_.reset();
    EduTest::TearDown();
  }

  static std::vector<BusRange> ByFrames(const PinnedRange& pinned, std::size_t offset,
                                        std::size_t bytes) {
    std::vector<BusRange> ranges;
    while (bytes > 0) {
      const std::size_t part = std::min(bytes, kPage - offset % kPage);
      ranges.push_back({pinned.BusAddress(offset), part});
      offset += part;
      bytes -= part;
    }
    return ranges;
  }

  // The segments of one list, mapped for the engine and unmapped after `use`.
  template <typename Use>
  static absl::Status WithSegments(Range range, const Use& use) {
    const auto list = ReadPhyrs(range, {.add = kHeld});
    if (!list.ok()) return list.status();
    auto mapping = DmaMap(*list, kEngineLimits);
    if (!mapping.ok()) return mapping.status();
    if (absl::Status status = CheckLimitsKept(*mapping, kEngineLimits); !status.ok()) return status;
    const auto segments = EngineSegments(*mapping);
    if (!segments.ok()) return segments.status();
    absl::Status status = use(*segments);
    DmaUnmap(*mapping);
    return status;
  }

  // What the target holds when all has been copied.
  std::vector<std::byte> Expected() const {
    const auto before = target_->bytes();
    std::vector<std::byte> expected(before.begin(), before.end());
    for (const Copy& copy : kCopies) {
      std::memcpy(expected.data() + copy.to, source_->bytes().data() + copy.from, copy.bytes);
    }
    return expected;
  }

  void ExpectInTarget(const std::vector<std::byte>& expected) const {
    EXPECT_EQ(FirstDifference(expected, target_->bytes()), expected.size());
  }

  std::unique_ptr<PageMemory> source_;
  std::unique_ptr<PageMemory> target_;
  std::unique_ptr<PinnedRange> source_pin_;
  std::unique_ptr<PinnedRange> target_pin_;
};

TEST_P(PhyrsOfEachKind, TheBytesComeFromWhereTheListSays) {
  const std::vector<std::byte> expected = Expected();
  const auto run = [&](EduEngine& each, std::size_t job) {
    const Copy& copy = kCopies[job];
    return WithSegments(source_->range(copy.from, copy.bytes), [&](const auto& segments) {
      return CopyThrough(each, segments, ByFrames(*target_pin_, copy.to, copy.bytes));
    });
  };
  ASSERT_EQ(ForEachJob(engines_, kCopies.size(), run), absl::OkStatus());
  ExpectInTarget(expected);
}

TEST_P(PhyrsOfEachKind, TheBytesGoWhereTheListSaysAndNowhereElse) {
  const std::vector<std::byte> expected = Expected();
  const auto run = [&](EduEngine& each, std::size_t job) {
    const Copy& copy = kCopies[job];
    return WithSegments(target_->range(copy.to, copy.bytes), [&](const auto& segments) {
      return CopyThrough(each, ByFrames(*source_pin_, copy.from, copy.bytes), segments);
    });
  };
  ASSERT_EQ(ForEachJob(engines_, kCopies.size(), run), absl::OkStatus());
  ExpectInTarget(expected);
}

TEST_P(PhyrsOfEachKind, AListHasEachPageAndNoMoreEntriesThanPagesOfItsKind) {
  const auto list = ReadPhyrs(source_->range(), {.add = kHeld});
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->length(), kBytes);
  EXPECT_LE(list->size(), GetParam() == PageKind::kSmall ? kBytes / kPage : kBytes / kHugePage);
  std::vector<std::uint64_t> frames;
  for (const DevicePage& page : list->Pages(kPage)) frames.push_back(page.address / kPage);
  EXPECT_EQ(frames, source_pin_->frames());
  for (const Phyr& entry : *list) {
    EXPECT_EQ(entry.Has(PhyrFlags::kHuge), GetParam() != PageKind::kSmall) << entry.ToString();
  }
  std::printf("%zu entries of %s\n", list->size(), ToString(GetParam()).c_str());
}

INSTANTIATE_TEST_SUITE_P(Edu, PhyrsOfEachKind,
                         ::testing::Values(PageKind::kSmall, PageKind::kTransparentHuge,
                                           PageKind::kHugetlb));

}  // namespace
}  // namespace linchpin::testing
