// What must hold of physical ranges, by other means than those that made them.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"

#include "apps/linchpin/phyr/self_test.h"
#include "apps/linchpin/quantity.h"
#include "lib/base/base_page.h"
#include "lib/base/fd.h"

namespace linchpin {
namespace {

constexpr PhyrFlags kHeld = PhyrFlags::kPinned | PhyrFlags::kLongterm;

class Checks final {
 public:
  void Expect(const std::string& what, bool ok, const std::string& detail = "") {
    checks_.push_back({what, ok, detail});
  }
  std::vector<PhyrCheck> Take() { return std::move(checks_); }

 private:
  std::vector<PhyrCheck> checks_;
};

// Of the mapping at `start`, as the kernel counts it: what it has mapped as transparent huge pages.
std::uint64_t AnonHugeBytes(std::uintptr_t start) {
  std::ifstream maps("/proc/self/smaps");
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t first = 0;
    std::uint64_t kib = 0;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-", &first) == 1 && line.find('-') < 17) {
      here = first == start;
    } else if (here && std::sscanf(line.c_str(), "AnonHugePages: %" SCNu64, &kib) == 1) {
      return kib * 1024;
    }
  }
  return 0;
}

// Whether a device with pages of `size` finds each byte where it is: within such a page, IO address
// (which is the virtual one) and physical address differ by a multiple of it.
bool Translates(const std::vector<std::uint64_t>& addresses, std::uint64_t start,
                std::uint64_t size) {
  std::uint64_t of_page = 0;  // The physical address of the device's page.
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const std::uint64_t at = start + i * BasePageSize();
    if (addresses[i] % size != at % size) return false;
    const std::uint64_t page = addresses[i] - addresses[i] % size;
    if (i > 0 && at % size != 0 && page != of_page) return false;
    of_page = page;
  }
  return true;
}

// What is wrong with a translation; empty when nothing is.
std::string Fault(const MemoryUnderTest& under_test, const Translation& translation) {
  const Range range = under_test.memory.range();
  const std::uint64_t size = *translation.page_size;
  const std::uint64_t entries = (range.end - 1) / size - range.start / size + 1;
  if (translation.entries != entries) return absl::StrCat("there must be ", entries);
  if (under_test.addresses.empty()) return "";
  if (!Translates(under_test.addresses, range.start, size)) return "some are not in one piece";
  if (entries == 1) return "";  // A larger page could be no better.
  for (std::uint64_t left = translation.supported & ~(2 * size - 1); left != 0; left &= left - 1) {
    const std::uint64_t larger = left & -left;
    if (!Translates(under_test.addresses, range.start, larger)) continue;
    return absl::StrCat("pages of ", FormatSize(larger), " would do as well");
  }
  return "";
}

void CheckTranslation(const MemoryUnderTest& under_test, const Translation& translation,
                      Checks& checks) {
  const std::string fault = Fault(under_test, translation);
  const char* const claim = under_test.addresses.empty()
                                ? " can be promised to translate it"
                                : " translate it, and no larger ones of the device would";
  checks.Expect(absl::StrCat("pages of ", FormatSize(*translation.page_size), claim), fault.empty(),
                absl::StrCat("a device with ", PageSizesText(translation.supported), " has ",
                             translation.entries, " entries", fault.empty() ? "" : "; ", fault));
}

void CheckSmall(const PhyrView& view, Checks& checks) {
  checks.Expect("small pages are not huge", view.summary.bytes_with(PhyrFlags::kHuge) == 0);
}

void CheckTransparent(const MemoryUnderTest& under_test, const PhyrView& view, Checks& checks) {
  if (access("/proc/kpageflags", R_OK) != 0 || under_test.addresses.empty()) return;
  const std::uint64_t huge = view.summary.bytes_with(PhyrFlags::kHuge);
  const std::uint64_t counted = AnonHugeBytes(under_test.memory.range().start);
  checks.Expect("as much is huge as the kernel counts (AnonHugePages)", huge == counted,
                counted == 0 ? "the machine gave none"
                             : absl::StrCat(FormatSize(huge), " of ", FormatSize(counted)));
  if (huge != view.list.length()) return;
  checks.Expect("a device with pages of 2 MiB uses them",
                view.summary.translations[1].page_size == kMiddlePage);
}

void CheckHugetlb(const PhyrView& view, Checks& checks) {
  checks.Expect("all of it is huge",
                view.summary.bytes_with(PhyrFlags::kHuge) == view.list.length());
  checks.Expect("a device with pages of 2 MiB uses them",
                view.summary.translations[1].page_size.value_or(0) >= kMiddlePage);
}

void CheckPartlyTouched(const PhyrView& view, Checks& checks) {
  const std::uint64_t absent = view.summary.bytes_with(PhyrFlags::kAbsent);
  const std::uint64_t swapped = view.summary.bytes_with(PhyrFlags::kSwapped);
  checks.Expect("what was never touched is absent", absent == view.list.length() / 4,
                FormatSize(absent));
  const Translation& translation = view.summary.translations[0];
  checks.Expect("no page size fits the whole", !translation.page_size);
  checks.Expect("each of the two parts has a page size",
                swapped != 0 || (translation.parts == 2 && translation.least != 0),
                absl::StrCat(translation.parts, " parts"));
}

void CheckZero(const MemoryUnderTest& under_test, const PhyrView& view, Checks& checks) {
  checks.Expect("none of it may be written", view.summary.bytes_with(PhyrFlags::kWritable) == 0);
  if (under_test.addresses.empty()) return;
  const auto& addresses = under_test.addresses;
  checks.Expect("all of it is the page of zeros",
                view.summary.bytes_with(PhyrFlags::kZeroPage) == view.list.length());
  checks.Expect("which is one page", std::count(addresses.begin(), addresses.end(), addresses[0]) ==
                                         static_cast<std::ptrdiff_t>(addresses.size()));
}

void CheckMappedTwice(const MemoryUnderTest& under_test, Checks& checks) {
  const Range first = under_test.memory.range();
  const Range second = under_test.memory.second();
  auto* const here = reinterpret_cast<unsigned char*>(first.start);
  auto* const there = reinterpret_cast<unsigned char*>(second.start);
  bool seen = true;
  for (std::size_t at = 0; at < first.size(); at += BasePageSize()) {
    there[at] = static_cast<unsigned char>(at / BasePageSize() % 251);
    seen = seen && here[at] == at / BasePageSize() % 251;
  }
  checks.Expect("what is written at one place is read at the other", seen);
  if (under_test.addresses.empty()) return;
  const auto other = ReadPhyrs(second);
  const auto mine = ReadPhyrs(first);
  checks.Expect("the list of the other mapping is the same",
                mine.ok() && other.ok() && mine->Without(kHeld) == other->Without(kHeld));
}

// Asks for the pages, which the kernel may not give while they are pinned.
void CheckStays(const MemoryUnderTest& under_test, const PhyrView& view, Checks& checks) {
  const Range range = under_test.memory.range();
  madvise(reinterpret_cast<void*>(range.start), range.size(), MADV_PAGEOUT);
  const auto now = ReadPhyrs(range);
  checks.Expect("it stays where it is when the kernel is told to page it out (MADV_PAGEOUT)",
                now.ok() && now->Without(kHeld) == view.list.Without(kHeld));
}

}  // namespace

std::vector<std::uint64_t> AddressesOf(Range range) {
  const Fd map(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  std::vector<std::uint64_t> addresses;
  bool shown = false;
  for (std::uintptr_t at = range.start; at < range.end; at += BasePageSize()) {
    std::uint64_t word = 0;
    const auto offset = static_cast<off_t>(at / BasePageSize() * sizeof word);
    if (pread(map.get(), &word, sizeof word, offset) != sizeof word) return {};
    const bool present = (word >> 63) != 0;
    const std::uint64_t frame = present ? word & ((std::uint64_t{1} << 55) - 1) : 0;
    shown = shown || frame != 0;
    addresses.push_back(frame * BasePageSize());
  }
  return shown ? addresses : std::vector<std::uint64_t>();
}

std::vector<PhyrCheck> CheckPhyrs(const MemoryUnderTest& under_test, const PhyrView& view) {
  Checks checks;
  const Range range = under_test.memory.range();
  checks.Expect("the list has every byte of it", view.list.length() == range.size(),
                FormatSize(view.list.length()));
  if (!under_test.addresses.empty()) {
    std::size_t wrong = 0;
    std::size_t page = 0;
    for (const Phyr& piece : view.list.Pieces({.boundary = 0, .max_length = BasePageSize()})) {
      if (page >= under_test.addresses.size()) break;
      if (piece.address() != under_test.addresses[page++]) ++wrong;
    }
    checks.Expect("each page is where its own entry of the page map says",
                  wrong == 0 && page == under_test.addresses.size(),
                  absl::StrCat(page - wrong, " of ", under_test.addresses.size(), " pages"));
  }
  for (const Translation& translation : view.summary.translations) {
    if (translation.page_size) CheckTranslation(under_test, translation, checks);
  }
  switch (under_test.kind) {
    case MemoryKind::kSmall:
      CheckSmall(view, checks);
      break;
    case MemoryKind::kTransparentHuge:
      CheckTransparent(under_test, view, checks);
      break;
    case MemoryKind::kHugetlb:
      CheckHugetlb(view, checks);
      break;
    case MemoryKind::kPartlyTouched:
      CheckPartlyTouched(view, checks);
      break;
    case MemoryKind::kZero:
      CheckZero(under_test, view, checks);
      break;
    case MemoryKind::kMappedTwice:
      CheckMappedTwice(under_test, checks);
      break;
  }
  if (under_test.pinned) CheckStays(under_test, view, checks);
  return checks.Take();
}

}  // namespace linchpin
