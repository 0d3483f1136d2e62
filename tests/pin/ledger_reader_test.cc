// The reader of ledgers: that nothing torn is taken for whole, and nothing hostile does any harm.
#include "lib/pin/ledger_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "lib/base/fd.h"
#include "lib/pin/ledger.h"
#include "lib/pin/ledger_format.h"
#include "tests/pin/ledger_process.h"
#include "tests/testing/child.h"

namespace linchpin::internal {
namespace {

using ::linchpin::testing::DropPrivilege;
using ::linchpin::testing::LedgerProcess;
using ::linchpin::testing::RunInChild;

using Clock = std::chrono::steady_clock;
using Pause = LedgerProcess::Pause;

// A pin of which every field says which one it is.
struct Telltale {
  std::string device, owner_name;
  LedgerPin pin;

  explicit Telltale(std::uint64_t n)
      : device(absl::StrCat("device", n)), owner_name(absl::StrCat("owner", n)) {
    pin = {.range = {4096 * n, 4096 * n + n},
           .kind = static_cast<PinKind>(n % 4),
           .rights = n % 2 == 0 ? Access::kLocalRead : Access::kLocalWrite,
           .device = device,
           .owner = n,
           .owner_name = owner_name,
           .runs = static_cast<std::uint32_t>(n)};
  }

  static bool IsWhole(const ListedPin& pin) {
    const Telltale expected(pin.owner);
    return pin.range == expected.pin.range && pin.kind == expected.pin.kind &&
           pin.rights == expected.pin.rights && pin.device == expected.device &&
           pin.owner_name == expected.owner_name && pin.runs == expected.pin.runs &&
           (pin.leases == 0 || pin.leases == pin.owner);
  }
};

LedgerReader OpenOrDie(pid_t pid) {
  absl::StatusOr<LedgerReader> reader = LedgerReader::Open(pid);
  LINCHPIN_CHECK(reader.ok());
  return *std::move(reader);
}

// The ledger of `pid`, open for writing, as any process of its user can have it.
Fd OpenToWrite(pid_t pid) {
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"))) {
    if (std::filesystem::read_symlink(entry).string() == "/memfd:linchpin-pins (deleted)") {
      return Fd(open(entry.path().c_str(), O_RDWR | O_CLOEXEC));
    }
  }
  return Fd();
}

template <typename Record>
Record ReadAt(const Fd& ledger, std::size_t offset) {
  Record record;
  LINCHPIN_CHECK(pread(ledger.get(), &record, sizeof(record), static_cast<off_t>(offset)) ==
                 sizeof(record));
  return record;
}

template <typename Record>
void WriteAt(const Fd& ledger, std::size_t offset, const Record& record) {
  LINCHPIN_CHECK(pwrite(ledger.get(), &record, sizeof(record), static_cast<off_t>(offset)) ==
                 sizeof(record));
}

void ListOneForEver(const Pause& pause) {
  Ledger::OfProcess().Add(Telltale(1000).pin);
  pause();
}

TEST(LedgerReader, SaysThatThereIsNoProcess) {
  EXPECT_EQ(LedgerReader::Open(0x7fff'ffff).status().code(), absl::StatusCode::kNotFound);
}

TEST(LedgerReader, SaysThatThereIsNoLedger) {
  const LedgerProcess other([](const Pause& pause) { pause(); });
  const absl::Status status = LedgerReader::Open(other.pid()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
}

TEST(LedgerReader, SaysWhatItMayNotRead) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const LedgerProcess other(ListOneForEver);
  EXPECT_EQ(RunInChild([&]() -> std::string {
              if (!DropPrivilege(1)) return "cannot become another user";
              const absl::Status status = LedgerReader::Open(other.pid()).status();
              return absl::IsPermissionDenied(status) ? "" : status.ToString();
            }),
            "");
}

TEST(LedgerReader, SaysThatALedgerIsOfAnotherVersion) {
  const LedgerProcess other(ListOneForEver);
  const Fd ledger = OpenToWrite(other.pid());
  auto header = ReadAt<LedgerHeader>(ledger, 0);
  ++header.version;
  WriteAt(ledger, 0, header);
  const absl::Status status = LedgerReader::Open(other.pid()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
}

TEST(LedgerReader, SaysThatALedgerHasBeenWrittenOver) {
  const LedgerProcess other(ListOneForEver);
  const Fd ledger = OpenToWrite(other.pid());
  WriteAt(ledger, 0, std::uint64_t{0});
  EXPECT_EQ(LedgerReader::Open(other.pid()).status().code(), absl::StatusCode::kDataLoss);
}

TEST(LedgerReader, IgnoresALedgerThatIsAnotherProcesssOwn) {
  const LedgerProcess owner(ListOneForEver);
  const LedgerProcess thief([&](const Pause& pause) {
    const Fd copy = OpenToWrite(owner.pid());
    LINCHPIN_CHECK(copy.valid());
    pause();
  });
  EXPECT_EQ(LedgerReader::Open(thief.pid()).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(LedgerReader, FindsTheRightOneAmongThoseOfThatName) {
  const LedgerProcess other([](const Pause& pause) {
    for (int i = 0; i < 20; ++i) {
      const int fake = memfd_create(kLedgerName, MFD_CLOEXEC | MFD_ALLOW_SEALING);
      if (i % 3 == 0) continue;  // Empty.
      LINCHPIN_CHECK(ftruncate(fake, kLedgerBytes) == 0);
      if (i % 3 == 1) fcntl(fake, F_ADD_SEALS, F_SEAL_SHRINK);
    }
    Ledger::OfProcess().Add(Telltale(1000).pin);
    pause();
  });
  const absl::StatusOr<LedgerReader> reader = LedgerReader::Open(other.pid());
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->Read().pins.size(), 1U);
}

TEST(LedgerReader, ARecordBeingWrittenIsBusyAndTheOthersAreRead) {
  const LedgerProcess other([](const Pause& pause) {
    for (std::uint64_t n = 1; n <= 600; ++n) Ledger::OfProcess().Add(Telltale(n).pin);
    pause();
  });
  const Fd ledger = OpenToWrite(other.pid());
  const std::size_t offset = kLedgerPinsAt + 300 * sizeof(LedgerPinRecord);
  auto record = ReadAt<LedgerPinRecord>(ledger, offset);
  ++record.seal.sequence;
  WriteAt(ledger, offset, record);
  const LedgerContents contents = OpenOrDie(other.pid()).Read();
  EXPECT_EQ(contents.pins.size(), 599U);
  EXPECT_EQ(contents.busy, 1U);
  EXPECT_EQ(contents.damaged, 0U);
}

TEST(LedgerReader, ARecordWithAnyByteChangedIsNotTakenForAnother) {
  const LedgerProcess other(ListOneForEver);
  const LedgerReader reader = OpenOrDie(other.pid());
  const Fd ledger = OpenToWrite(other.pid());
  const auto good =
      ReadAt<std::array<std::uint8_t, sizeof(LedgerPinRecord)>>(ledger, kLedgerPinsAt);
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const int flip : {0x01, 0x80}) {
      auto bad = good;
      bad[i] = static_cast<std::uint8_t>(bad[i] ^ flip);
      WriteAt(ledger, kLedgerPinsAt, bad);
      EXPECT_TRUE(reader.Read().pins.empty()) << "byte " << i;
    }
  }
  WriteAt(ledger, kLedgerPinsAt, good);
  EXPECT_EQ(reader.Read().pins.size(), 1U);
}

TEST(LedgerReader, ARecordThatIsWellSealedAndMakesNoSenseIsDamaged) {
  const LedgerProcess other(ListOneForEver);
  const LedgerReader reader = OpenOrDie(other.pid());
  const Fd ledger = OpenToWrite(other.pid());
  const auto good = ReadAt<LedgerPinRecord>(ledger, kLedgerPinsAt);
  const auto is_damaged = [&](LedgerPinRecord record) {
    record.seal.checksum = LedgerChecksum(record);
    WriteAt(ledger, kLedgerPinsAt, record);
    const LedgerContents contents = reader.Read();
    return contents.pins.empty() && contents.damaged == 1;
  };
  LedgerPinRecord bad = good;
  bad.end = bad.start;
  EXPECT_TRUE(is_damaged(bad));
  bad = good;
  bad.kind = 4;
  EXPECT_TRUE(is_damaged(bad));
  bad = good;
  bad.rights = 0x8000'0000;
  EXPECT_TRUE(is_damaged(bad));
  EXPECT_FALSE(is_damaged(good));
}

TEST(LedgerReader, AHeaderThatPromisesTooMuchIsCut) {
  const LedgerProcess other(ListOneForEver);
  const LedgerReader reader = OpenOrDie(other.pid());
  const Fd ledger = OpenToWrite(other.pid());
  auto header = ReadAt<LedgerHeader>(ledger, 0);
  header.pins_used = header.files_used = header.caches_used = 0xffff'ffff;
  WriteAt(ledger, 0, header);
  EXPECT_EQ(reader.Read().pins.size(), 1U);
}

// Lists and unlists for ever, which the caller ends.
void ListWithoutEnd(const Pause& pause) {
  Ledger& ledger = Ledger::OfProcess();
  std::array<LedgerEntry, 64> entries{};
  const LedgerEntry cache = ledger.AddCache("device");
  std::uint64_t n = 1;
  for (; n <= entries.size(); ++n) entries.at(n % entries.size()) = ledger.Add(Telltale(n).pin);
  pause();
  for (CacheStats stats; true; ++n) {
    LedgerEntry& entry = entries.at(n % entries.size());
    ledger.Remove(entry);
    entry = ledger.Add(Telltale(n).pin);
    ledger.SetLeases(entry, n);
    stats.hits = stats.misses = n;
    ledger.Publish(cache, stats);
  }
}

// Reads the ledgers of two processes that write without pause.
void NothingTornIsAccepted(std::chrono::seconds duration) {
  const LedgerProcess first(ListWithoutEnd);
  const LedgerProcess second(ListWithoutEnd);
  first.Go();
  second.Go();
  const LedgerReader readers[] = {OpenOrDie(first.pid()), OpenOrDie(second.pid())};
  std::uint64_t read = 0;
  std::uint64_t busy = 0;
  std::set<std::uint64_t> seen;
  for (const auto end = Clock::now() + duration; Clock::now() < end;) {
    for (const LedgerReader& reader : readers) {
      const LedgerContents contents = reader.Read();
      EXPECT_EQ(contents.damaged, 0U);
      busy += contents.busy;
      for (const ListedPin& pin : contents.pins) {
        ASSERT_TRUE(Telltale::IsWhole(pin)) << pin.owner << " " << pin.range.ToString();
        if (seen.size() < 100'000) seen.insert(pin.owner);
        ++read;
      }
      for (const ListedCache& cache : contents.caches) {
        ASSERT_EQ(cache.stats.hits, cache.stats.misses);
      }
    }
  }
  std::printf("%llu pins read, %llu records busy, %zu different\n",
              static_cast<unsigned long long>(read), static_cast<unsigned long long>(busy),
              seen.size());
  EXPECT_GT(seen.size(), 1000U) << "nothing was written meanwhile";
}

TEST(LedgerReaderRace, NothingTornIsAcceptedFromTwoProcessesThatWrite) {
  NothingTornIsAccepted(std::chrono::seconds(3));
}

TEST(LedgerReaderRaceSoak, NothingTornIsAcceptedInHalfAMinute) {
  NothingTornIsAccepted(std::chrono::seconds(30));
}

TEST(LedgerReaderRace, AThirdProcessWritesOverEverythingAndNobodyIsHarmed) {
  const LedgerProcess writer(ListWithoutEnd);
  const LedgerReader reader = OpenOrDie(writer.pid());
  const LedgerProcess vandal([&](const Pause& pause) {
    const Fd ledger = OpenToWrite(writer.pid());
    LINCHPIN_CHECK(ledger.valid());
    pause();
    std::mt19937_64 random(1);
    std::array<std::uint64_t, 512> noise{};
    for (std::uint64_t turn = 0; true; ++turn) {
      for (std::uint64_t& word : noise) word = turn % 2 == 0 ? random() : ~std::uint64_t{0};
      const auto page = static_cast<off_t>(random() % (kLedgerBytes / sizeof(noise)));
      if (pwrite(ledger.get(), noise.data(), sizeof(noise), page * 4096) < 0) _exit(1);
      // Neither may make the writer's next access a SIGBUS.
      if (turn % 64 == 0) {
        fallocate(ledger.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * 4096, 65536);
      }
      if (ftruncate(ledger.get(), 0) == 0) _exit(2);
    }
  });
  writer.Go();
  vandal.Go();
  std::uint64_t damaged = 0;
  for (const auto end = Clock::now() + std::chrono::seconds(3); Clock::now() < end;) {
    const LedgerContents contents = reader.Read();
    damaged += contents.damaged;
    for (const ListedPin& pin : contents.pins) EXPECT_FALSE(pin.range.empty());
    static_cast<void>(LedgerReader::Open(writer.pid()).ok());
    EXPECT_TRUE(reader.Want());
  }
  EXPECT_GT(damaged, 0U);
  EXPECT_EQ(kill(writer.pid(), 0), 0);
  const char state = reader.ProcessState();
  EXPECT_TRUE(state == 'R' || state == 'S') << state;
  EXPECT_EQ(waitpid(vandal.pid(), nullptr, WNOHANG), 0) << "the vandal ended early";
}

}  // namespace
}  // namespace linchpin::internal
