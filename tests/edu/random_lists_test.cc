// Random scatter lists: gathered from several buffers of every kind of page, mapped for random
// limits, with and without an IOMMU, and copied by the engines. All memory that was a target is
// compared, between the lists too.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "linchpin/dma_map.h"
#include "linchpin/phyr.h"
#include "tests/edu/engine_segments.h"
#include "tests/edu/fixture.h"
#include "tests/testing/memory.h"

namespace linchpin::testing {
namespace {

constexpr PhyrFlags kHeld = PhyrFlags::kPinned | PhyrFlags::kLongterm;
constexpr std::size_t kPairs = 500;  // Of a list to copy from, and one to copy to.

// A pinned buffer, and all of it as a list.
struct Buffer {
  std::unique_ptr<PageMemory> memory;
  std::unique_ptr<PinnedRange> pinned;
  PhyrList list;
  std::vector<std::byte> expected;  // What it holds in the end.
  std::size_t used = 0;             // As a target, up to here.
};

struct Part {
  const Buffer* buffer;
  std::size_t offset;
  std::size_t bytes;
  bool sliced;  // Of the buffer's list; otherwise read from the page map.
};

struct ScatterList {
  std::vector<Part> parts;
  DmaLimits limits;
};

struct Pair {
  ScatterList from;
  ScatterList to;
};

class RandomLists : public EduTest {
 protected:
  void SetUp() override {
    EduTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const char* given = std::getenv("LINCHPIN_TEST_SEED");
    seed_ = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    std::printf("seed %llu; repeat with LINCHPIN_TEST_SEED=%llu\n",
                static_cast<unsigned long long>(seed_), static_cast<unsigned long long>(seed_));
    random_.seed(seed_);
    for (const PageKind kind : {PageKind::kSmall, PageKind::kTransparentHuge, PageKind::kHugetlb}) {
      const std::size_t bytes = kind == PageKind::kSmall ? kHugePage : 2 * kHugePage;
      ASSERT_NO_FATAL_FAILURE(AddBuffer(sources_, kind, bytes));
      ASSERT_NO_FATAL_FAILURE(AddBuffer(targets_, kind, bytes));
    }
    auto space = IovaSpace::Create({.first = kPage, .last = 0xffff'ffff, .granule = kPage});
    ASSERT_TRUE(space.ok()) << space.status();
    space_ = *space;
  }
  void TearDown() override {
    sources_.clear();
    targets_.clear();
    if (space_ != nullptr) {
      EXPECT_EQ(space_->bytes_allocated(), 0U);
    }
    EduTest::TearDown();
  }

  void AddBuffer(std::vector<Buffer>& buffers, PageKind kind, std::size_t bytes) {
    Buffer buffer;
    buffer.memory = Memory(kind, bytes);
    ASSERT_NE(buffer.memory, nullptr);
    Fill(buffer.memory->bytes(), random_);
    buffer.pinned = Pin(buffer.memory->range());
    ASSERT_NE(buffer.pinned, nullptr);
    auto list = ReadPhyrs(buffer.memory->range(), {.add = kHeld});
    ASSERT_TRUE(list.ok()) << list.status();
    buffer.list = *std::move(list);
    buffer.expected.assign(buffer.memory->bytes().begin(), buffer.memory->bytes().end());
    buffers.push_back(std::move(buffer));
  }

  std::size_t Below(std::size_t end) { return random_() % end; }

  DmaLimits RandomLimits() {
    constexpr std::array<std::uint64_t, 6> kBoundaries = {0, 512, 1024, 4096, 65536, 1 << 20};
    constexpr std::array<std::uint64_t, 4> kGranules = {0, 1, 512, 4096};
    DmaLimits limits;
    limits.mask = Below(4) == 0 ? 0xffff'ffff : EduEngine::kAddressMask;
    limits.boundary = kBoundaries[Below(kBoundaries.size())];
    limits.max_segment = Below(3) == 0 ? kPage : 300 + Below(kPage - 300);
    limits.merge_granule = kGranules[Below(kGranules.size())];
    if (Below(3) == 0) limits.iova = space_;
    return limits;
  }

  // The target's next bytes behind a gap, in a buffer that has room for them.
  Part NextTarget(std::size_t bytes) {
    for (;;) {
      Buffer& buffer = targets_[Below(targets_.size())];
      const std::size_t gap = Below(4) == 0 ? 0 : 1 + Below(kPage);
      if (buffer.used + gap + bytes > buffer.expected.size()) continue;
      buffer.used += gap + bytes;
      return {&buffer, buffer.used - bytes, bytes, Below(2) == 0};
    }
  }
  Part RandomSource(std::size_t bytes) {
    const Buffer& buffer = sources_[Below(sources_.size())];
    return {&buffer, Below(buffer.expected.size() - bytes + 1), bytes, Below(2) == 0};
  }

  // Cuts `total` bytes into one to three parts.
  std::vector<std::size_t> Cut(std::size_t total) {
    std::vector<std::size_t> parts;
    for (std::size_t more = Below(3); more > 0 && total > 1; --more) {
      parts.push_back(1 + Below(total - 1));
      total -= parts.back();
    }
    parts.push_back(total);
    return parts;
  }

  Pair RandomPair() {
    Pair pair{{{}, RandomLimits()}, {{}, RandomLimits()}};
    // Each segment costs a transfer: few of them in a list, however short they must be.
    const auto most = [](const DmaLimits& limits) {
      return limits.boundary == 0 ? limits.max_segment
                                  : std::min(limits.max_segment, limits.boundary);
    };
    const std::size_t total = 1 + Below(3 * std::min(most(pair.from.limits), most(pair.to.limits)));
    for (const std::size_t bytes : Cut(total)) pair.from.parts.push_back(RandomSource(bytes));
    for (const std::size_t bytes : Cut(total)) pair.to.parts.push_back(NextTarget(bytes));
    return pair;
  }

  // Brings the pair's bytes to where they are expected.
  void Expect(const Pair& pair) {
    std::vector<std::byte> sent;
    for (const Part& part : pair.from.parts) {
      const auto from = part.buffer->memory->bytes().subspan(part.offset, part.bytes);
      sent.insert(sent.end(), from.begin(), from.end());
    }
    const std::byte* next = sent.data();
    for (const Part& part : pair.to.parts) {
      for (Buffer& buffer : targets_) {
        if (&buffer == part.buffer) std::memcpy(&buffer.expected[part.offset], next, part.bytes);
      }
      next += part.bytes;
    }
  }

  std::uint64_t seed_ = 0;
  std::vector<Buffer> sources_;
  std::vector<Buffer> targets_;
  std::shared_ptr<IovaSpace> space_;
};

absl::StatusOr<PhyrList> ListOf(const std::vector<Part>& parts) {
  PhyrList list;
  for (const Part& part : parts) {
    const auto piece = part.sliced ? part.buffer->list.Slice(part.offset, part.bytes)
                                   : ReadPhyrs(part.buffer->memory->range(part.offset, part.bytes),
                                               {.add = kHeld});
    if (!piece.ok()) return piece.status();
    list.Append(*piece);
  }
  return list;
}

// A device that reaches only part of the memory is told so, and maps with a mask that is large
// enough then.
absl::StatusOr<DmaMapping> Map(const PhyrList& list, DmaLimits limits) {
  const bool reached = limits.iova != nullptr ||
                       std::all_of(list.begin(), list.end(),
                                   [&](const Phyr& entry) { return entry.last() <= limits.mask; });
  auto mapping = DmaMap(list, limits);
  if (!reached) {
    if (!absl::IsOutOfRange(mapping.status())) {
      return absl::InternalError(
          absl::StrCat("beyond the mask, and: ", mapping.status().ToString()));
    }
    limits.mask = EduEngine::kAddressMask;
    mapping = DmaMap(list, limits);
  }
  if (!mapping.ok()) return mapping.status();
  if (absl::Status status = CheckLimitsKept(*mapping, limits); !status.ok()) return status;
  return mapping;
}

absl::Status CopyPair(EduEngine& engine, const Pair& pair) {
  const auto from_list = ListOf(pair.from.parts);
  if (!from_list.ok()) return from_list.status();
  const auto to_list = ListOf(pair.to.parts);
  if (!to_list.ok()) return to_list.status();
  auto from = Map(*from_list, pair.from.limits);
  if (!from.ok()) return from.status();
  auto to = Map(*to_list, pair.to.limits);
  if (!to.ok()) return to.status();
  const auto from_segments = EngineSegments(*from);
  if (!from_segments.ok()) return from_segments.status();
  const auto to_segments = EngineSegments(*to);
  if (!to_segments.ok()) return to_segments.status();
  absl::Status status = CopyThrough(engine, *from_segments, *to_segments);
  DmaUnmap(*from);
  DmaUnmap(*to);
  return status;
}

TEST_F(RandomLists, ArriveByteForByteAndNothingElseChanges) {
  std::vector<Pair> pairs;
  for (std::size_t i = 0; i < kPairs; ++i) pairs.push_back(RandomPair());
  for (const Pair& pair : pairs) Expect(pair);
  const auto begin = std::chrono::steady_clock::now();
  const auto copy = [&](EduEngine& each, std::size_t job) { return CopyPair(each, pairs[job]); };
  ASSERT_EQ(ForEachJob(engines_, pairs.size(), copy), absl::OkStatus());
  std::uint64_t transfers = 0;
  for (const auto& each : engines_) transfers += each->transfers();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::printf("%zu lists, %llu transfers, %.1f s\n", 2 * kPairs,
              static_cast<unsigned long long>(transfers), took.count());
  for (const Buffer& buffer : targets_) {
    EXPECT_EQ(FirstDifference(buffer.expected, buffer.memory->bytes()), buffer.expected.size())
        << ToString(buffer.memory->kind());
    EXPECT_GT(buffer.used, 0U);
  }
}

}  // namespace
}  // namespace linchpin::testing
