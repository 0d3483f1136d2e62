// Physical ranges: reading them against reading the bare page map, and what lists and mappings of
// them cost beside the plainest code that does a part of it.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "bench/harness/suite.h"
#include "linchpin/dma_map.h"
#include "linchpin/phyr.h"

namespace linchpin::bench {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHugePage = 2 << 20;
constexpr std::size_t kGiB = 1 << 30;
constexpr std::size_t kEntries = kGiB / kPage;

enum class Pages { kInOrder, kScattered, kTransparentHuge, kHugetlb };

std::size_t BytesOf(const Options& options) {
  return options.quick ? std::size_t{16} << 20 : kGiB;
}

// Memory of one kind, all of it touched.
class Memory final {
 public:
  Memory(Pages pages, std::size_t bytes) : bytes_(bytes), room_(bytes + kHugePage) {
    const int huge = pages == Pages::kHugetlb ? MAP_HUGETLB : 0;
    void* const mapped =
        mmap(nullptr, room_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | huge, -1, 0);
    if (mapped == MAP_FAILED) return;
    mapped_ = static_cast<char*>(mapped);
    const auto start = reinterpret_cast<std::uintptr_t>(mapped_);
    data_ = mapped_ + (kHugePage - start % kHugePage) % kHugePage;
    if (huge == 0) {
      madvise(mapped_, room_, pages == Pages::kTransparentHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    }
    Touch(pages == Pages::kScattered);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    if (mapped_ != nullptr) munmap(mapped_, room_);
  }

  bool valid() const { return mapped_ != nullptr; }
  Range range() const {
    const auto start = reinterpret_cast<std::uintptr_t>(data_);
    return {start, start + bytes_};
  }

 private:
  // At random, neighbours get frames that are none.
  void Touch(bool at_random) {
    std::vector<std::size_t> order(bytes_ / kPage);
    std::iota(order.begin(), order.end(), 0);
    if (at_random) std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
    for (const std::size_t page : order) data_[page * kPage] = 1;
  }

  const std::size_t bytes_;
  const std::size_t room_;
  char* mapped_ = nullptr;
  char* data_ = nullptr;
};

PhyrList Read(Range range) {
  absl::StatusOr<PhyrList> list = ReadPhyrs(range);
  if (!list.ok()) Fail(std::string(list.status().message()));
  return *std::move(list);
}

// The same entries of the page map in one system call, into memory that is there.
Contender BarePread(Range range, const Options& options) {
  const auto buffer = std::make_shared<std::vector<std::uint64_t>>(range.size() / kPage);
  const auto run = [range, buffer](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
      const std::size_t bytes = buffer->size() * sizeof(std::uint64_t);
      const auto at = static_cast<off_t>(range.start / kPage * sizeof(std::uint64_t));
      if (pread(fd, buffer->data(), bytes, at) != static_cast<ssize_t>(bytes)) Fail("pread failed");
      close(fd);
    }
  };
  return Timed("pread", {.run = Clocked(run)}, options);
}

Contender Reading(Range range, const Options& options) {
  return Timed("ReadPhyrs", {.run = Clocked([range](std::size_t count) {
                               for (std::size_t i = 0; i < count; ++i) Read(range);
                             })},
               options);
}

std::vector<Row> Extract(const std::string& name, Pages pages, const Options& options) {
  const Memory memory(pages, BytesOf(options));
  if (!memory.valid()) {
    const std::string why = "no huge pages are set aside (vm.nr_hugepages)";
    const std::vector<Samples> absent =
        RunRounds({{"ReadPhyrs", {}, why}, {"pread", {}, why}}, options.rounds);
    return CompareFirst(name, absent);
  }
  const Range range = memory.range();
  const std::vector<Samples> samples =
      RunRounds({Reading(range, options), BarePread(range, options)}, options.rounds);
  std::vector<Row> rows = CompareFirst(name, samples);
  const std::size_t entries = Read(range).size();
  const double per_gib = static_cast<double>(kGiB) / static_cast<double>(range.size());
  const Samples bytes{"PhyrList", {}, {{static_cast<double>(entries * sizeof(Phyr)) * per_gib}}};
  rows.push_back(CompareWithNumber(name + ": bytes a GiB", bytes, "a frame number a page",
                                   static_cast<double>(kEntries * sizeof(std::uint64_t)),
                                   {.unit = "bytes"}));
  return rows;
}

// Entries of which `merge` says whether each goes on where the one before it ends.
std::vector<Phyr> EntriesOf(bool merge) {
  std::vector<Phyr> entries;
  for (std::uint64_t i = 0; i < kEntries; ++i) {
    entries.emplace_back((merge ? i : 2 * i + 1) * kPage, kPage, PhyrFlags::kPinned);
  }
  return entries;
}

// The time of one entry of `count`, of whatever `body` does to all of them.
Contender PerEntry(std::string name, const std::function<void()>& body, const Options& options) {
  Contender timed = Timed(std::move(name), {.run = Clocked([body](std::size_t count) {
                                              for (std::size_t i = 0; i < count; ++i) body();
                                            })},
                          options);
  timed.round = [whole = timed.round] {
    std::vector<double> values = whole();
    for (double& value : values) value /= static_cast<double>(kEntries);
    return values;
  };
  return timed;
}

std::vector<Row> Append(const std::string& name, bool merge, const Options& options) {
  const std::vector<Phyr> entries = EntriesOf(merge);
  PhyrList list;
  std::vector<Phyr> plain;
  return CompareFirst(name, RunRounds({PerEntry(
                                           "PhyrList::Append",
                                           [&] {
                                             list.Clear();
                                             for (const Phyr& entry : entries) list.Append(entry);
                                           },
                                           options),
                                       PerEntry(
                                           "std::vector::push_back",
                                           [&] {
                                             plain.clear();
                                             for (const Phyr& entry : entries)
                                               plain.push_back(entry);
                                           },
                                           options)},
                                      options.rounds));
}

std::vector<Row> Map(const std::string& name, bool translated, const Options& options) {
  PhyrList list;
  for (const Phyr& entry : EntriesOf(false)) list.Append(entry);
  DmaLimits limits{.mask = (std::uint64_t{1} << 40) - 1, .max_segment = 1 << 20};
  if (translated) {
    limits.iova = IovaSpace::Create({.first = kGiB, .last = 8 * kGiB - 1}).value();
  }
  const auto copy = [&list] {
    std::vector<Phyr> segments(list.begin(), list.end());
    if (segments.empty()) Fail("the list is empty");
  };
  const auto map = [&] {
    if (!DmaMap(list, limits).ok()) Fail("DmaMap failed");  // Unmapped at once.
  };
  return CompareFirst(name, RunRounds({PerEntry("DmaMap + DmaUnmap", map, options),
                                       PerEntry("a copy of the entries", copy, options)},
                                      options.rounds));
}

Scenario Extracting(const std::string& what, Pages pages) {
  const std::string name = "1 GiB, " + what;
  return {name, [=](const Options& options) { return Extract(name, pages, options); }};
}

int Main(int argc, char** argv) {
  const std::string scattered = "append, no two adjacent";
  const std::string adjacent = "append, all merged";
  const std::string identity = "map 262,144 entries, identity";
  const std::string translated = "map 262,144 entries, IO addresses";
  const Suite suite = {
      .name = "phyr_bench",
      .purpose = "Physical ranges: extraction, lists and DMA mappings",
      .scenarios =
          {Extracting("4 KiB pages, touched in order", Pages::kInOrder),
           Extracting("4 KiB pages, touched at random", Pages::kScattered),
           Extracting("transparent huge pages", Pages::kTransparentHuge),
           Extracting("hugetlb", Pages::kHugetlb),
           {adjacent, [=](const Options& options) { return Append(adjacent, true, options); }},
           {scattered, [=](const Options& options) { return Append(scattered, false, options); }},
           {identity, [=](const Options& options) { return Map(identity, false, options); }},
           {translated, [=](const Options& options) { return Map(translated, true, options); }}},
      .notes = {"append and map: of one entry; without CAP_SYS_ADMIN there are no frame numbers, "
                "and each page is an entry"}};
  return RunSuite(suite, argc, argv);
}

}  // namespace
}  // namespace linchpin::bench

int main(int argc, char** argv) {
  return linchpin::bench::Main(argc, argv);
}
