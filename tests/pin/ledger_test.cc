// The writing side of the ledger: what it lists, what it does when there is no room, and what a
// forked child makes of its parent's.
#include "lib/pin/ledger.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "lib/base/check.h"
#include "lib/base/fd.h"
#include "lib/base/no_allocation.h"
#include "lib/pin/ledger_format.h"
#include "lib/pin/ledger_reader.h"
#include "tests/testing/child.h"
#include "tests/testing/pins.h"

namespace linchpin::internal {
namespace {

using ::linchpin::testing::Complaint;
using ::linchpin::testing::RunInChild;
using ::linchpin::testing::WaitFor;

// Each test has a process, and so a ledger, of its own.
#define EXPECT_IN_CHILD(...) EXPECT_EQ(RunInChild([&]() -> Complaint __VA_ARGS__), "")
#define OR_COMPLAIN(condition) \
  if (!(condition)) return "not so: " #condition

LedgerContents ReadOwn() {
  const absl::StatusOr<LedgerReader> reader = LedgerReader::Open(getpid());
  return reader.ok() ? reader->Read() : LedgerContents();
}

LedgerPin AnyPin(std::uint64_t n = 1) {
  return {.range = {4096 * n, 4096 * n + 4096}, .device = "rxe0", .owner = n, .owner_name = {}};
}

TEST(Ledger, WhatIsAddedIsReadAndWhatIsRemovedIsNot) {
  EXPECT_IN_CHILD({
    Ledger& ledger = Ledger::OfProcess();
    const LedgerEntry first = ledger.Add({.range = {0x1000, 0x2345},
                                          .kind = PinKind::kOnDemand,
                                          .rights = Access::kLocalWrite | Access::kOnDemand,
                                          .device = "rxe0",
                                          .owner = 9,
                                          .owner_name = "peer 3",
                                          .runs = 2});
    ledger.SetLeases(first, 4);
    const LedgerEntry second = ledger.Add(AnyPin(5));
    OR_COMPLAIN(first != 0 && second != 0 && first != second);
    LedgerContents contents = ReadOwn();
    OR_COMPLAIN(contents.pins.size() == 2 && contents.busy == 0 && contents.damaged == 0);
    const ListedPin& pin = contents.pins[0];
    OR_COMPLAIN((pin.range == Range{0x1000, 0x2345}) && pin.kind == PinKind::kOnDemand);
    OR_COMPLAIN(pin.rights == (Access::kLocalWrite | Access::kOnDemand) && pin.device == "rxe0");
    OR_COMPLAIN(pin.owner == 9 && pin.owner_name == "peer 3" && pin.runs == 2 && pin.leases == 4);
    OR_COMPLAIN(pin.file.empty() && pin.file_inode == 0 && pin.pinned_at_ns != 0);
    ledger.Remove(first);
    contents = ReadOwn();
    OR_COMPLAIN(contents.pins.size() == 1 && contents.pins[0].owner == 5);
    return "";
  });
}

TEST(Ledger, TextThatIsTooLongIsCut) {
  EXPECT_IN_CHILD({
    const std::string text(500, 'x');
    LedgerPin pin = AnyPin();
    pin.device = text;
    pin.owner_name = text;
    Ledger::OfProcess().Add(pin);
    const LedgerContents contents = ReadOwn();
    OR_COMPLAIN(contents.pins.size() == 1);
    OR_COMPLAIN(contents.pins[0].device == std::string(40, 'x'));
    OR_COMPLAIN(contents.pins[0].owner_name == std::string(64, 'x'));
    return "";
  });
}

TEST(Ledger, IsBoundedAndCountsWhatItDoesNotList) {
  EXPECT_IN_CHILD({
    Ledger& ledger = Ledger::OfProcess();
    std::set<LedgerEntry> entries;
    for (std::uint64_t n = 1; n <= kLedgerPins; ++n) entries.insert(ledger.Add(AnyPin(n)));
    OR_COMPLAIN(entries.size() == kLedgerPins && !entries.contains(0));
    OR_COMPLAIN(ledger.Add(AnyPin()) == 0 && ledger.Add(AnyPin()) == 0);
    ledger.SetLeases(0, 3);
    ledger.Remove(0);
    LedgerContents contents = ReadOwn();
    OR_COMPLAIN(contents.pins.size() == kLedgerPins);
    OR_COMPLAIN(contents.unlisted_pins == 2 && contents.unlisted_bytes == 8192);
    for (const LedgerEntry entry : entries) ledger.Remove(entry);
    OR_COMPLAIN(ReadOwn().pins.empty());
    OR_COMPLAIN(ledger.Add(AnyPin()) != 0);
    for (std::uint32_t i = 0; i < kLedgerCaches; ++i) OR_COMPLAIN(ledger.AddCache("rxe0") != 0);
    OR_COMPLAIN(ledger.AddCache("rxe0") == 0);
    OR_COMPLAIN(ReadOwn().unlisted_caches == 1);
    return "";
  });
}

TEST(Ledger, AnEntryRemovedTwiceOrInventedIsIgnored) {
  EXPECT_IN_CHILD({
    Ledger& ledger = Ledger::OfProcess();
    const LedgerEntry first = ledger.Add(AnyPin(1));
    const LedgerEntry second = ledger.Add(AnyPin(2));
    ledger.Remove(first);
    ledger.Remove(first);
    for (const LedgerEntry invented : {second + 1, second + 0x1000'0000, ~LedgerEntry{0}}) {
      ledger.Remove(invented);
      ledger.SetLeases(invented, 1);
    }
    const LedgerEntry third = ledger.Add(AnyPin(3));
    const LedgerEntry fourth = ledger.Add(AnyPin(4));
    OR_COMPLAIN(third != fourth && ReadOwn().pins.size() == 3);
    return "";
  });
}

TEST(Ledger, KnowsTheNameOfEachFileAndForgetsIt) {
  EXPECT_IN_CHILD({
    Ledger& ledger = Ledger::OfProcess();
    std::vector<LedgerEntry> entries;
    // More files than it has room for, but not at once.
    for (std::uint32_t i = 0; i < kLedgerFiles + 100; ++i) {
      const std::string name = absl::StrCat("file-", i);
      const Fd file(memfd_create(name.c_str(), MFD_CLOEXEC));
      struct stat status {};
      OR_COMPLAIN(ftruncate(file.get(), 4096) == 0 && fstat(file.get(), &status) == 0);
      void* const mapped = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.get(), 0);
      const auto start = reinterpret_cast<std::uintptr_t>(mapped);
      LedgerPin pin = AnyPin();
      pin.range = {start, start + 4096};
      pin.file_device = status.st_dev;
      pin.file_inode = status.st_ino;
      entries.push_back(ledger.Add(pin));
      entries.push_back(ledger.Add(pin));
      const LedgerContents contents = ReadOwn();
      OR_COMPLAIN(contents.pins.size() == 2);
      for (const ListedPin& listed : contents.pins) {
        OR_COMPLAIN(listed.file == absl::StrCat("/memfd:", name, " (deleted)"));
      }
      for (const LedgerEntry entry : entries) ledger.Remove(entry);
      munmap(mapped, 4096);
    }
    return "";
  });
}

TEST(Ledger, MoreFilesThanItHasRoomForKeepTheirNumbers) {
  EXPECT_IN_CHILD({
    Ledger& ledger = Ledger::OfProcess();
    constexpr std::uint64_t kMore = 20;
    for (std::uint64_t n = 1; n <= kLedgerFiles + kMore; ++n) {
      LedgerPin pin = AnyPin(n);
      pin.file_device = 1;
      pin.file_inode = n;
      OR_COMPLAIN(ledger.Add(pin) != 0);
    }
    const LedgerContents contents = ReadOwn();
    OR_COMPLAIN(contents.pins.size() == kLedgerFiles + kMore && contents.damaged == 0);
    for (const ListedPin& pin : contents.pins) OR_COMPLAIN(pin.file_inode == pin.owner);
    return "";
  });
}

TEST(Ledger, CannotBeTruncatedOrGrown) {
  EXPECT_IN_CHILD({
    Ledger::OfProcess().Add(AnyPin());
    int found = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code error;
      const auto link = std::filesystem::read_symlink(entry, error).string();
      if (!link.starts_with("/memfd:linchpin-pins")) continue;
      ++found;
      const Fd fd(open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
      OR_COMPLAIN(ftruncate(fd.get(), 0) != 0 && ftruncate(fd.get(), 1 << 30) != 0);
      OR_COMPLAIN(open(entry.path().c_str(), O_RDWR | O_TRUNC | O_CLOEXEC) < 0);
      const int number = std::stoi(entry.path().filename());
      OR_COMPLAIN((fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
    }
    OR_COMPLAIN(found == 1);
    return "";
  });
}

TEST(Ledger, WithoutADescriptorNothingFailsAndNothingIsLost) {
  EXPECT_IN_CHILD({
    rlimit usual{};
    getrlimit(RLIMIT_NOFILE, &usual);
    const rlimit none{0, usual.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    Ledger& ledger = Ledger::OfProcess();
    const LedgerEntry cache = ledger.AddCache("rxe0");
    std::vector<LedgerEntry> entries;
    for (std::uint64_t n = 1; n <= 1000; ++n) entries.push_back(ledger.Add(AnyPin(n)));
    ledger.Remove(entries[0]);
    ledger.SetLeases(entries[1], 8);
    CacheStats stats;
    stats.hits = 5;
    ledger.Publish(cache, stats);
    OR_COMPLAIN(cache != 0 && entries[999] != 0 && !ledger.Wanted(cache));
    setrlimit(RLIMIT_NOFILE, &usual);
    // It tries again once a second, when there is something to write.
    OR_COMPLAIN(WaitFor("a memfd", [&] {
      ledger.Publish(cache, stats);
      usleep(20'000);
      return LedgerReader::Open(getpid()).ok();
    }));
    const LedgerContents contents = ReadOwn();
    OR_COMPLAIN(contents.pins.size() == 999 && contents.damaged == 0 && contents.busy == 0);
    OR_COMPLAIN(contents.pins[0].owner == 2 && contents.pins[0].leases == 8);
    OR_COMPLAIN(contents.caches.size() == 1 && contents.caches[0].stats.hits == 5);
    OR_COMPLAIN(contents.unlisted_pins == 0);
    for (const LedgerEntry entry : entries) ledger.Remove(entry);
    OR_COMPLAIN(ReadOwn().pins.empty() && ledger.Add(AnyPin()) != 0);
    return "";
  });
}

TEST(Ledger, SaysOnceThatItIsNotSeen) {
  EXPECT_IN_CHILD({
    const Fd output(memfd_create("output", MFD_CLOEXEC));
    dup2(output.get(), STDERR_FILENO);
    const rlimit none{0, 1024};
    setrlimit(RLIMIT_NOFILE, &none);
    for (std::uint64_t n = 1; n <= 3; ++n) {
      Ledger::OfProcess().Add(AnyPin(n));
      usleep(600'000);
    }
    std::array<char, 1024> text{};
    const ssize_t length = pread(STDERR_FILENO, text.data(), text.size() - 1, 0);
    const std::string said(text.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
    OR_COMPLAIN(said.find("EMFILE") != std::string::npos);
    return said.find('\n') + 1 == said.size() ? "" : "said: " + said;
  });
}

Complaint ChildHasItsOwn(LedgerEntry inherited, LedgerEntry inherited_cache, Ledger& parents) {
  parents.Remove(inherited);  // The object of the parent is inert.
  OR_COMPLAIN(parents.Add(AnyPin()) == 0 && parents.AddCache("rxe0") == 0);
  Ledger& own = Ledger::OfProcess();
  OR_COMPLAIN(&own != &parents && &own == &Ledger::OfProcess());
  const LedgerEntry entry = own.Add(AnyPin(3));
  OR_COMPLAIN(entry != 0);
  // What the parent's entries are called means nothing here.
  own.Remove(inherited);
  own.SetLeases(inherited, 99);
  own.Publish(inherited_cache, CacheStats());
  own.RemoveCache(inherited_cache);
  const LedgerContents contents = ReadOwn();
  OR_COMPLAIN(contents.pins.size() == 1 && contents.pins[0].owner == 3);
  OR_COMPLAIN(contents.pins[0].leases == 0);
  return "";
}

TEST(Ledger, AForkedChildLeavesItsParentsAloneAndHasItsOwn) {
  for (const bool raw_clone : {false, true}) {
    EXPECT_IN_CHILD({
      Ledger& ledger = Ledger::OfProcess();
      const LedgerEntry entry = ledger.Add(AnyPin(2));
      const LedgerEntry cache = ledger.AddCache("rxe0");
      Complaint complaint =
          RunInChild([&] { return ChildHasItsOwn(entry, cache, ledger); }, raw_clone);
      if (!complaint.empty()) return complaint;
      const LedgerContents contents = ReadOwn();
      OR_COMPLAIN(contents.pins.size() == 1 && contents.pins[0].owner == 2);
      OR_COMPLAIN(contents.pins[0].leases == 0 && contents.caches.size() == 1);
      return "";
    });
  }
}

TEST(Ledger, UnderMlockallOnlyWhatIsUsedIsResident) {
  EXPECT_IN_CHILD({
    if (mlockall(MCL_FUTURE) != 0) return "";  // RLIMIT_MEMLOCK is 0: nobody can be hurt.
    Ledger::OfProcess().Add(AnyPin());
    munlockall();
    std::ifstream smaps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(smaps, line);) {
      if (line.find("linchpin-pins") != std::string::npos) here = true;
      if (!here || !line.starts_with("Rss:")) continue;
      return std::stoi(line.substr(4)) <= 64 ? "" : line;
    }
    return "no such mapping";
  });
}

TEST(Ledger, ACacheIsAskedAndAnswers) {
  EXPECT_IN_CHILD({
    Ledger& ledger = Ledger::OfProcess();
    const LedgerEntry cache = ledger.AddCache("rxe0");
    OR_COMPLAIN(!ledger.Wanted(cache) && !ledger.Wanted(0));
    const absl::StatusOr<LedgerReader> reader = LedgerReader::Open(getpid());
    OR_COMPLAIN(reader.ok() && reader->ReadCaches().size() == 1);
    OR_COMPLAIN(reader->ReadCaches()[0].published_at_ns == 0);
    OR_COMPLAIN(reader->Want() && ledger.Wanted(cache));
    CacheStats stats;
    stats.hits = 1;
    stats.reap_lag_us_max = 20;
    ledger.Publish(cache, stats);
    OR_COMPLAIN(!ledger.Wanted(cache));
    const ListedCache seen = reader->ReadCaches()[0];
    OR_COMPLAIN(seen.published_at_ns != 0 && seen.device == "rxe0");
    OR_COMPLAIN(seen.stats.hits == 1 && seen.stats.reap_lag_us_max == 20);
    ledger.RemoveCache(cache);
    OR_COMPLAIN(reader->ReadCaches().empty() && !ledger.Wanted(cache));
    ledger.Publish(cache, stats);
    OR_COMPLAIN(reader->ReadCaches().empty());
    return "";
  });
}

TEST(Ledger, NothingIsAllocatedForAPinWithoutAFile) {
  EXPECT_IN_CHILD({
    Ledger& ledger = Ledger::OfProcess();
    ledger.Remove(ledger.Add(AnyPin()));
    NoAllocation::Enter();  // Aborts if it is.
    for (std::uint64_t n = 1; n <= 1000; ++n) ledger.SetLeases(ledger.Add(AnyPin(n)), n);
    NoAllocation::Leave();
    return "";
  });
}

TEST(LedgerRace, ThreadsAddAndRemoveAtOnceAndAReaderLooksOn) {
  Ledger& ledger = Ledger::OfProcess();
  const LedgerEntry cache = ledger.AddCache("rxe0");
  const auto work = [&](std::uint64_t thread) {
    std::array<LedgerEntry, 8> entries{};
    for (std::uint64_t n = 0; n < 20'000; ++n) {
      LedgerEntry& entry = entries.at(n % entries.size());
      ledger.Remove(entry);
      LedgerPin pin = AnyPin(thread);
      pin.file_device = n % 3;
      pin.file_inode = n % 3;
      entry = ledger.Add(pin);
      EXPECT_NE(entry, 0U);
      ledger.SetLeases(entry, thread);
      if (ledger.Wanted(cache)) ledger.Publish(cache, CacheStats());
    }
    for (const LedgerEntry entry : entries) ledger.Remove(entry);
  };
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 1; thread <= 4; ++thread) threads.emplace_back(work, thread);
  const absl::StatusOr<LedgerReader> reader = LedgerReader::Open(getpid());
  EXPECT_TRUE(reader.ok());
  for (int i = 0; reader.ok() && i < 200; ++i) {
    const LedgerContents contents = reader->Read();
    EXPECT_EQ(contents.damaged, 0U);
    for (const ListedPin& pin : contents.pins) {
      EXPECT_EQ(pin.range, AnyPin(pin.owner).range);
      EXPECT_TRUE(pin.leases == 0 || pin.leases == pin.owner);
    }
    EXPECT_TRUE(reader->Want());
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(ReadOwn().pins.empty());
  ledger.RemoveCache(cache);
}

}  // namespace
}  // namespace linchpin::internal
