// ReadPhyrs, on memory of this process whose frames the kernel shows, or does not.
#include "lib/phyr/page_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "linchpin/dma_map.h"
#include "linchpin/phyr.h"
#include "linchpin/phyr_convert.h"
#include "tests/testing/child.h"
#include "tests/testing/memory.h"

namespace linchpin {
namespace {

using internal::PageMap;
using internal::PageMapEntry;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::kPage;
using testing::Mapped;

constexpr std::size_t kHugePage = 2 << 20;

Range RangeOf(const Mapped& memory) {
  return {memory.start(), memory.start() + memory.size()};
}

bool FramesAreShown() {
  const auto map = PageMap::Open(0);
  return map.ok() && map->shows_frames();
}

// The address of the byte at `at`, by its own entry of the page map. 0 if it is nowhere.
std::uint64_t EntryAddressOf(std::uintptr_t at) {
  PageMapEntry entry{};
  const auto map = PageMap::Open(0);
  EXPECT_TRUE(map->ReadEntries(at / kPage, {&entry, 1}).ok());
  return entry.present() ? entry.frame() * kPage + at % kPage : 0;
}

// A list, and the address of each page of its range by the page's own entry, all of one time: the
// kernel may move pages that nobody has pinned, and so the list was read again after the entries.
class Snapshot final {
 public:
  explicit Snapshot(Range range) : first_page_(range.start / kPage) {
    const auto start = std::chrono::steady_clock::now();
    while (!Take(range)) {
      if (std::chrono::steady_clock::now() - start < std::chrono::seconds(30)) continue;
      ADD_FAILURE() << "the memory does not come to rest";
      return;
    }
  }

  const PhyrList& list() const { return list_; }
  // Of a byte of the range. 0 if it is nowhere.
  std::uint64_t AddressOf(std::uintptr_t at) const {
    const std::uint64_t page = pages_[at / kPage - first_page_];
    return page == 0 ? 0 : page + at % kPage;
  }

 private:
  bool Take(Range range) {
    auto list = ReadPhyrs(range);
    EXPECT_TRUE(list.ok()) << list.status();
    if (!list.ok()) return true;
    list_ = *std::move(list);
    pages_.clear();
    for (std::uint64_t page = first_page_; page <= (range.end - 1) / kPage; ++page) {
      pages_.push_back(EntryAddressOf(page * kPage));
    }
    const auto again = ReadPhyrs(range);
    return again.ok() && *again == list_;
  }

  const std::uint64_t first_page_;
  PhyrList list_;
  std::vector<std::uint64_t> pages_;
};

// Compares each page's address with what its own entry says.
void ExpectTrue(const Snapshot& snapshot, Range range) {
  ASSERT_EQ(snapshot.list().length(), range.size());
  std::uintptr_t at = range.start;
  for (const Phyr& piece : snapshot.list().Pieces({.boundary = kPage, .max_length = kPage})) {
    if (piece.placed()) {
      ASSERT_EQ(piece.address(), snapshot.AddressOf(at)) << piece.ToString();
    }
    at += piece.length();
  }
}

class ReadPhyrsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!FramesAreShown()) GTEST_SKIP() << "needs CAP_SYS_ADMIN to see frame numbers";
  }
};

TEST_F(ReadPhyrsTest, FindsEachPageOfTouchedMemoryFromTheFirstByteToTheLast) {
  const Mapped memory(300 * kPage);
  std::memset(memory.data(), 1, memory.size());
  for (const Range range : {RangeOf(memory), Range{memory.start() + 17, memory.start() + 18},
                            Range{memory.start() + kPage - 1, memory.start() + 200 * kPage + 1}}) {
    const Snapshot snapshot(range);
    ExpectTrue(snapshot, range);
    for (const Phyr& entry : snapshot.list())
      EXPECT_TRUE(entry.Has(PhyrFlags::kWritable)) << entry.ToString();
  }
}

TEST_F(ReadPhyrsTest, SaysWhatWasNeverTouchedAndWhatIsZero) {
  const Mapped memory(6 * kPage);
  madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
  std::memset(memory.data() + kPage, 1, kPage);
  std::atomic_ref(memory.data()[4 * kPage]).load();
  std::atomic_ref(memory.data()[5 * kPage]).load();
  const Snapshot snapshot(RangeOf(memory));
  const PhyrList& list = snapshot.list();
  ASSERT_EQ(list.size(), 5U);
  EXPECT_EQ(list[0], Phyr(0, kPage, PhyrFlags::kAbsent));
  EXPECT_EQ(list[1], Phyr(snapshot.AddressOf(memory.start() + kPage), kPage, PhyrFlags::kWritable));
  EXPECT_EQ(list[2], Phyr(0, 2 * kPage, PhyrFlags::kAbsent));
  EXPECT_TRUE(list[3].Has(PhyrFlags::kZeroPage)) << list[3].ToString();
  EXPECT_EQ(list[4], list[3]);
}

TEST_F(ReadPhyrsTest, GoesAcrossMappingsAndHoles) {
  const Mapped memory(4 * kPage);
  std::memset(memory.data(), 1, memory.size());
  ASSERT_EQ(mprotect(memory.data() + kPage, kPage, PROT_READ), 0);
  { const Snapshot first(RangeOf(memory)); }  // What it maps for itself, before there is a hole.
  ASSERT_EQ(munmap(memory.data() + 2 * kPage, kPage), 0);
  const Snapshot snapshot(RangeOf(memory));
  const PhyrList& list = snapshot.list();
  ASSERT_EQ(list.size(), 4U);
  ExpectTrue(snapshot, RangeOf(memory));
  EXPECT_TRUE(list[0].Has(PhyrFlags::kWritable));
  EXPECT_FALSE(list[1].Has(PhyrFlags::kWritable));
  EXPECT_EQ(list[2], Phyr(0, kPage, PhyrFlags::kAbsent));
  EXPECT_TRUE(list[3].placed());
}

TEST_F(ReadPhyrsTest, AddsWhatTheCallerKnows) {
  const Mapped memory(kPage);
  memory.data()[0] = 1;
  const PhyrFlags held = PhyrFlags::kPinned | PhyrFlags::kLongterm;
  const auto list = ReadPhyrs(RangeOf(memory), {.add = held});
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 1U);
  EXPECT_EQ((*list)[0].flags(), held | PhyrFlags::kWritable);
}

// Touches the huge page at `start`. Returns: whether it is one.
bool TouchHuge(char* start) {
  madvise(start, kHugePage, MADV_HUGEPAGE);
  std::memset(start, 1, kHugePage);
  const auto first = reinterpret_cast<std::uintptr_t>(start);
  const Snapshot snapshot({first, first + kHugePage});
  const std::uint64_t address = snapshot.AddressOf(first);
  for (std::size_t at = 0; at < kHugePage; at += kPage) {
    if (snapshot.AddressOf(first + at) != address + at) return false;
  }
  return address % kHugePage == 0;
}

TEST_F(ReadPhyrsTest, TellsTransparentHugePagesFromSmallOnes) {
  const Mapped memory(4 * kHugePage);
  char* const huge =
      memory.data() + (kHugePage - memory.start() % kHugePage) % kHugePage + kHugePage;
  madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
  std::memset(huge - kPage, 1, kPage);
  std::memset(huge + kHugePage, 1, kPage);
  if (!TouchHuge(huge)) GTEST_SKIP() << "no transparent huge page was to be had";
  const auto start = reinterpret_cast<std::uintptr_t>(huge);
  const Snapshot snapshot({start - kPage, start + kHugePage + kPage});
  const PhyrList& list = snapshot.list();
  ASSERT_EQ(list.size(), 3U);
  EXPECT_FALSE(list[0].Has(PhyrFlags::kHuge)) << list[0].ToString();
  EXPECT_EQ(list[1],
            Phyr(snapshot.AddressOf(start), kHugePage, PhyrFlags::kHuge | PhyrFlags::kWritable));
  EXPECT_FALSE(list[2].Has(PhyrFlags::kHuge)) << list[2].ToString();

  const Snapshot part({start + 100, start + 200});
  EXPECT_THAT(part.list().entries(), ElementsAre(Phyr(part.AddressOf(start + 100), 100,
                                                      PhyrFlags::kHuge | PhyrFlags::kWritable)));
}

TEST_F(ReadPhyrsTest, KnowsHugetlbByItsMapping) {
  void* const mapped = mmap(nullptr, kHugePage, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  if (mapped == MAP_FAILED) GTEST_SKIP() << "no huge page is set aside (vm.nr_hugepages)";
  std::memset(mapped, 1, kHugePage);
  const auto start = reinterpret_cast<std::uintptr_t>(mapped);
  const Snapshot snapshot({start, start + kHugePage});
  EXPECT_THAT(snapshot.list().entries(),
              ElementsAre(Phyr(snapshot.AddressOf(start), kHugePage,
                               PhyrFlags::kHuge | PhyrFlags::kWritable)));
  munmap(mapped, kHugePage);
}

TEST_F(ReadPhyrsTest, SaysWhatIsSwappedOut) {
  std::ifstream swaps("/proc/swaps");
  const std::string text{std::istreambuf_iterator<char>(swaps), {}};
  if (std::count(text.begin(), text.end(), '\n') < 2) GTEST_SKIP() << "this machine has no swap";
  const Mapped memory(64 * kPage);
  madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
  const auto swapped_bytes = [&] {
    std::memset(memory.data(), 7, memory.size());
    madvise(memory.data() + 8 * kPage, 48 * kPage, MADV_PAGEOUT);
    const Snapshot snapshot(RangeOf(memory));
    ExpectTrue(snapshot, RangeOf(memory));
    EXPECT_TRUE(snapshot.list()[0].placed());
    std::uint64_t bytes = 0;
    for (const Phyr& entry : snapshot.list())
      bytes += entry.Has(PhyrFlags::kSwapped) ? entry.length() : 0;
    return bytes;
  };
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t swapped = 0;
  while ((swapped = swapped_bytes()) == 0) {  // The kernel may find a page busy.
    ASSERT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  }
  EXPECT_LE(swapped, 48 * kPage);
}

TEST_F(ReadPhyrsTest, ReadsAnotherProcess) {
  const Mapped memory(16 * kPage);
  std::memset(memory.data(), 1, memory.size());
  const pid_t child = fork();
  if (child == 0) {
    std::memset(memory.data(), 2, memory.size() / 2);  // Copies of its own.
    for (;;) pause();
  }
  std::uint64_t shared = 0;
  const auto start = std::chrono::steady_clock::now();
  for (;;) {  // Until the child has written, and the kernel moves nothing meanwhile.
    const auto list = ReadPhyrs(RangeOf(memory), {.pid = child});
    ASSERT_TRUE(list.ok()) << list.status();
    ASSERT_EQ(list->length(), memory.size());
    shared = 0;
    std::uintptr_t at = memory.start();
    for (const Phyr& page : list->Pieces({.boundary = kPage, .max_length = kPage})) {
      if (page.placed() && page.address() == EntryAddressOf(at)) ++shared;
      at += kPage;
    }
    if (shared == 8 || std::chrono::steady_clock::now() - start > std::chrono::seconds(30)) break;
  }
  EXPECT_EQ(shared, 8U);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(ReadPhyrs(RangeOf(memory), {.pid = child}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ReadPhyrs, WithoutPrivilegeSaysThePagesSizeAndNoAddress) {
  const Mapped memory(4 * kPage);
  std::memset(memory.data(), 1, 3 * kPage);
  EXPECT_EQ(testing::RunInChild([&]() -> testing::Complaint {
              if (!testing::DropPrivilege(0)) return "cannot become another user";
              prctl(PR_SET_DUMPABLE, 1);  // Else /proc/self is root's.
              const auto list = ReadPhyrs({memory.start() + 10, memory.start() + 4 * kPage});
              if (!list.ok()) return std::string(list.status().message());
              const PhyrFlags flags = PhyrFlags::kUnknownAddress | PhyrFlags::kWritable;
              const Phyr expected[] = {Phyr(kPage + 10, kPage - 10, flags),
                                       Phyr(kPage, kPage, flags), Phyr(kPage, kPage, flags),
                                       Phyr(0, kPage, PhyrFlags::kAbsent)};
              if (list->size() != 4) return "entries: " + std::to_string(list->size());
              for (std::size_t i = 0; i < 4; ++i) {
                if ((*list)[i] != expected[i]) return (*list)[i].ToString();
              }
              return "";
            }),
            "");
}

TEST(PageMap, OfAProcessThatEndedIsNoEmptyOne) {
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  const auto map = PageMap::Open(child);
  ASSERT_TRUE(map.ok()) << map.status();
  PageMapEntry entry{1};
  EXPECT_TRUE(map->ReadEntries(~std::uint64_t{0} / kPage, {&entry, 1}).ok());  // No address.
  EXPECT_EQ(entry.word, 0U);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(map->ReadEntries(1, {&entry, 1}).code(), absl::StatusCode::kNotFound);
}

TEST(ReadPhyrs, HasExactlyTheBytesOfItsRangeUpToTheLastAddress) {
  constexpr std::uintptr_t kTop = UINTPTR_MAX;
  for (const Range range : {Range{kTop - 1, kTop}, Range{kTop - 4095, kTop},
                            Range{kTop - 0x100f, kTop}, Range{kTop / 2, kTop}, Range{1, 2}}) {
    const auto list = ReadPhyrs(range);
    ASSERT_TRUE(list.ok()) << list.status();
    EXPECT_EQ(list->length(), range.size()) << range.ToString();
  }
}

TEST(ReadPhyrs, GuardPagesAreAbsent) {
  constexpr int kGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13.
  const Mapped memory(4 * kPage);
  std::memset(memory.data(), 1, memory.size());
  if (madvise(memory.data() + kPage, 2 * kPage, kGuardInstall) != 0) {
    GTEST_SKIP() << "this kernel has no MADV_GUARD_INSTALL";
  }
  const auto list = ReadPhyrs(RangeOf(memory));
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 3U);
  if ((*list)[1].Has(PhyrFlags::kSwapped)) GTEST_SKIP() << "this kernel's page map shows no guards";
  EXPECT_EQ((*list)[1], Phyr(0, 2 * kPage, PhyrFlags::kAbsent));
}

// The kernel's page map leaves most of such mappings out, to root too.
TEST(ReadPhyrs, OfADevicesMemoryTheAddressIsSeldomKnown) {
  const std::optional<Range> vvar = testing::FindMapping("[vvar]");
  if (!vvar) GTEST_SKIP() << "no [vvar] is mapped here";
  const auto list = ReadPhyrs({vvar->start + 10, vvar->start + kPage});
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 1u);
  const std::uint64_t shown = EntryAddressOf(vvar->start + 10);
  if (shown != 0) {
    EXPECT_EQ((*list)[0], Phyr(shown, kPage - 10, PhyrFlags::kDevice));
    return;
  }
  const PhyrFlags flags = PhyrFlags::kDevice | PhyrFlags::kUnknownAddress;
  EXPECT_EQ((*list)[0], Phyr(kPage + 10, kPage - 10, flags));
  for (const absl::Status& refused : {DmaMap(*list).status(), ToPageFrames(*list).status()}) {
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_THAT(std::string(refused.message()), HasSubstr("kBusAddress"));
  }
}

TEST(ReadPhyrs, BadRangesAndProcessesAreErrors) {
  EXPECT_EQ(ReadPhyrs({4096, 4096}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadPhyrs({4096, 8192}, {.pid = 0x3fffffff}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ReadPhyrs, AHoleMayBeLongerThanAnEntryCanBe) {
  const Range range{std::uintptr_t{1} << 58, std::uintptr_t{1} << 62};  // No user's addresses.
  const auto list = ReadPhyrs(range);
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->length(), range.size());
  EXPECT_GT(list->size(), 1U);
  for (const Phyr& entry : *list) EXPECT_EQ(entry.flags(), PhyrFlags::kAbsent);
}

TEST_F(ReadPhyrsTest, AgreesWithThePageMapForRandomMemory) {
  std::mt19937_64 random(11);
  const Mapped memory(3 * kHugePage);
  for (int i = 0; i < 600; ++i) {
    const std::uint64_t page = random() % (memory.size() / kPage);
    if (random() % 5 == 0) madvise(memory.data() + page * kPage, 3 * kPage, MADV_DONTNEED);
    memory.data()[page * kPage] = 1;
  }
  for (int i = 0; i < 40; ++i) {
    const std::uintptr_t start = memory.start() + random() % memory.size();
    const std::uintptr_t bytes = 1 + random() % (memory.start() + memory.size() - start);
    const Range range{start, start + bytes};
    ExpectTrue(Snapshot(range), range);
  }
}

}  // namespace
}  // namespace linchpin
