#include "tests/edu/edu_engine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

#include "lib/base/error.h"
#include "tests/edu/pci_device.h"

namespace linchpin::testing {
namespace {

// QEMU's docs/specs/edu.txt.
constexpr std::uint32_t kIdentification = 0xed;  // 0xRRrr00ed: the high half is the revision.
constexpr std::uint32_t kIdentificationMask = 0xffff;
constexpr std::size_t kIdentificationAt = 0x00;
constexpr std::size_t kSourceAt = 0x80;
constexpr std::size_t kDestinationAt = 0x88;
constexpr std::size_t kCountAt = 0x90;
constexpr std::size_t kCommandAt = 0x98;
constexpr std::uint64_t kBufferAt = 0x40000;
constexpr std::uint32_t kRun = 1;  // Reads as 0 again when the transfer is done.
constexpr std::uint32_t kTowardsMemory = 2;
constexpr std::size_t kRegistersBytes = std::size_t{1} << 20;

// The PCI specification: the command register, and its bits.
constexpr off_t kPciCommandAt = 4;
constexpr std::uint16_t kPciBusMaster = 4;

// How long the device lets every transfer take. It is asked only after that: each question stops
// the whole machine for a moment.
constexpr auto kTransferTime = std::chrono::milliseconds(100);
constexpr auto kDeadline = std::chrono::seconds(30);

std::uint64_t TotalBytes(std::span<const BusRange> segments) {
  std::uint64_t total = 0;
  for (const BusRange& segment : segments) total += segment.bytes;
  return total;
}

// Goes through the bytes of segments, in order.
class SegmentCursor final {
 public:
  explicit SegmentCursor(std::span<const BusRange> segments) : segments_(segments) {}

  // The next bytes, `most` of them at most, that lie together. Requires: some are left.
  BusRange Take(std::size_t most) {
    while (segments_.front().bytes == offset_) {
      segments_ = segments_.subspan(1);
      offset_ = 0;
    }
    const BusRange& segment = segments_.front();
    const std::size_t bytes = std::min(most, segment.bytes - offset_);
    const BusRange taken = {segment.address + offset_, bytes};
    offset_ += bytes;
    return taken;
  }

 private:
  std::span<const BusRange> segments_;
  std::size_t offset_ = 0;  // Within the first.
};

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<EduEngine>>> EduEngine::OpenAll(
    const OwnedFrames& owned) {
  const std::vector<std::string> folders = FindPciDevices("0x1234", "0x11e8");
  if (folders.empty()) {
    return absl::NotFoundError("no edu device (PCI 1234:11e8); use tools/rxe-vm --edu 24");
  }
  std::vector<std::unique_ptr<EduEngine>> engines;
  for (const std::string& folder : folders) {
    auto engine = std::unique_ptr<EduEngine>(new EduEngine(folder, owned));
    if (absl::Status status = engine->Open(); !status.ok()) return status;
    engines.push_back(std::move(engine));
  }
  return engines;
}

absl::Status EduEngine::Open() {
  if (absl::Status status = EnablePciDevice(folder_, true); !status.ok()) return status;
  const std::string config = folder_ + "/config";
  config_.Reset(open(config.c_str(), O_RDWR | O_CLOEXEC));
  if (!config_.valid()) return ErrnoToStatus(errno, config, "be root");
  const std::string resource = folder_ + "/resource0";
  const Fd file(open(resource.c_str(), O_RDWR | O_CLOEXEC));
  if (!file.valid()) return ErrnoToStatus(errno, resource, "be root");
  void* mapped = mmap(nullptr, kRegistersBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return ErrnoToStatus(errno, resource, "be root");
  registers_ = mapped;
  const std::uint32_t identification = Read32(kIdentificationAt);
  if ((identification & kIdentificationMask) != kIdentification) {
    return absl::UnavailableError(absl::StrCat(
        folder_, " says of itself ", absl::Hex(identification), ", which is no edu device"));
  }
  // A process that was killed may have left a transfer.
  if (!AwaitIdle()) return absl::UnavailableError(absl::StrCat(folder_, " is busy"));
  return SetBusMaster(true);
}

EduEngine::~EduEngine() {
  if (config_.valid()) static_cast<void>(SetBusMaster(false));
  if (registers_ != nullptr) munmap(registers_, kRegistersBytes);
  static_cast<void>(EnablePciDevice(folder_, false));
}

absl::Status EduEngine::SetBusMaster(bool on) {
  std::uint16_t command = 0;
  if (pread(config_.get(), &command, sizeof command, kPciCommandAt) != sizeof command) {
    return ErrnoToStatus(errno, folder_ + "/config", "be root");
  }
  const auto wanted =
      static_cast<std::uint16_t>(on ? command | kPciBusMaster : command & ~kPciBusMaster);
  if (pwrite(config_.get(), &wanted, sizeof wanted, kPciCommandAt) != sizeof wanted) {
    return ErrnoToStatus(errno, folder_ + "/config", "be root");
  }
  return absl::OkStatus();
}

// As atomics, each is one access of that width; with these orders a plain one, and what the program
// stored before a write is in memory when the device sees that. (A sequentially consistent store
// would be an exchange, which reads the register too.)
std::uint32_t EduEngine::Read32(std::size_t at) const {
  auto* const word = reinterpret_cast<std::uint32_t*>(static_cast<char*>(registers_) + at);
  return std::atomic_ref(*word).load(std::memory_order_acquire);
}

void EduEngine::Write32(std::size_t at, std::uint32_t value) {
  auto* const word = reinterpret_cast<std::uint32_t*>(static_cast<char*>(registers_) + at);
  std::atomic_ref(*word).store(value, std::memory_order_release);
}

void EduEngine::Write64(std::size_t at, std::uint64_t value) {
  auto* const word = reinterpret_cast<std::uint64_t*>(static_cast<char*>(registers_) + at);
  std::atomic_ref(*word).store(value, std::memory_order_release);
}

absl::Status EduEngine::CopyToDevice(BusRange from, std::size_t engine_offset) {
  if (absl::Status status = Check(from, engine_offset); !status.ok()) return status;
  return Transfer(from.address, kBufferAt + engine_offset, from.bytes, kRun);
}

absl::Status EduEngine::CopyFromDevice(std::size_t engine_offset, BusRange to) {
  if (absl::Status status = Check(to, engine_offset); !status.ok()) return status;
  return Transfer(kBufferAt + engine_offset, to.address, to.bytes, kRun | kTowardsMemory);
}

absl::Status EduEngine::Check(BusRange memory, std::size_t engine_offset) const {
  if (memory.bytes == 0 || engine_offset > kBufferBytes ||
      memory.bytes > kBufferBytes - engine_offset) {
    return absl::InvalidArgumentError(absl::StrCat(memory.bytes, " bytes at ", engine_offset,
                                                   " are not within the engine's buffer"));
  }
  if (memory.address > kAddressMask || memory.bytes - 1 > kAddressMask - memory.address) {
    return absl::InvalidArgumentError(
        absl::StrCat("0x", absl::Hex(memory.address), " is above the engine's mask"));
  }
  if (!owned_.Contain(memory)) {
    return absl::FailedPreconditionError(absl::StrCat(memory.bytes, " bytes at 0x",
                                                      absl::Hex(memory.address),
                                                      " are not memory that the test has pinned"));
  }
  if (stopped_) return absl::FailedPreconditionError(absl::StrCat(folder_, " was stopped"));
  return absl::OkStatus();
}

absl::Status EduEngine::Transfer(std::uint64_t source, std::uint64_t destination, std::size_t bytes,
                                 std::uint32_t command) {
  Write64(kSourceAt, source);
  Write64(kDestinationAt, destination);
  Write64(kCountAt, bytes);
  Write32(kCommandAt, command);
  ++transfers_;
  std::this_thread::sleep_for(kTransferTime);
  if (AwaitIdle()) return absl::OkStatus();
  // The memory may be unpinned as soon as this returns: the engine must not reach it then.
  stopped_ = true;
  const absl::Status status = SetBusMaster(false);
  return absl::DeadlineExceededError(
      absl::StrCat(folder_, " did not end its transfer; bus mastering off: ", status.ToString()));
}

bool EduEngine::AwaitIdle() const {
  const auto deadline = std::chrono::steady_clock::now() + kDeadline;
  while ((Read32(kCommandAt) & kRun) != 0) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

absl::Status CopyThrough(EduEngine& engine, std::span<const BusRange> from,
                         std::span<const BusRange> to) {
  std::uint64_t left = TotalBytes(from);
  if (left != TotalBytes(to)) {
    return absl::InvalidArgumentError(
        absl::StrCat(left, " bytes do not fit ", TotalBytes(to), " bytes"));
  }
  SegmentCursor source(from);
  SegmentCursor destination(to);
  while (left > 0) {
    const std::size_t round = std::min<std::uint64_t>(left, EduEngine::kBufferBytes);
    for (std::size_t at = 0; at < round;) {
      const BusRange piece = source.Take(round - at);
      if (absl::Status status = engine.CopyToDevice(piece, at); !status.ok()) return status;
      at += piece.bytes;
    }
    for (std::size_t at = 0; at < round;) {
      const BusRange piece = destination.Take(round - at);
      if (absl::Status status = engine.CopyFromDevice(at, piece); !status.ok()) return status;
      at += piece.bytes;
    }
    left -= round;
  }
  return absl::OkStatus();
}

absl::Status ForEachJob(std::span<const std::unique_ptr<EduEngine>> engines, std::size_t jobs,
                        const std::function<absl::Status(EduEngine&, std::size_t)>& run) {
  std::atomic<std::size_t> next = 0;
  std::vector<absl::Status> results(jobs);  // Each written by one thread, and read when it is gone.
  std::vector<std::thread> threads;
  for (const auto& engine : engines) {
    threads.emplace_back([&] {
      for (std::size_t job = next++; job < jobs; job = next++) results[job] = run(*engine, job);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t job = 0; job < jobs; ++job) {
    if (results[job].ok()) continue;
    return {results[job].code(), absl::StrCat("job ", job, ": ", results[job].message())};
  }
  return absl::OkStatus();
}

}  // namespace linchpin::testing
