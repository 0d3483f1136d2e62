// linchpin demo: a cache that knows registrations by address alone sends the bytes of memory that
// was unmapped long ago; Linchpin sends those that are there. Real registrations and transfers:
// what is said about them is computed from the bytes that arrived.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

#include "apps/linchpin/report.h"
#include "apps/linchpin/subcommand.h"
#include "apps/transport/transport.h"
#include "lib/base/error.h"
#include "linchpin/cache.h"
#include "nlohmann/json.hpp"

namespace linchpin {
namespace {

constexpr std::size_t kBytes = 65'536;
// Far below where the kernel maps what nobody places: no other thread's mapping, nor a sanitizer's,
// takes the address while the demo has it unmapped.
constexpr std::uintptr_t kQuietAddress = 0x2000'0000'0000;
constexpr std::byte kOld{0x0D};
constexpr std::byte kNew{0x4E};
constexpr std::byte kNothing{0x00};

std::string Named(std::byte value) {
  if (value == kOld) return "OLD";
  return value == kNew ? "NEW" : "NOTHING";
}

// What a peer received, by its bytes.
std::string Classify(const std::byte* data) {
  const std::byte first = data[0];
  const bool uniform =
      std::all_of(data, data + kBytes, [first](std::byte value) { return value == first; });
  const bool known = first == kOld || first == kNew || first == kNothing;
  return uniform && known ? Named(first) : "A MIXTURE";
}

// A private mapping of kBytes.
class Mapping final {
 public:
  Mapping() = default;
  ~Mapping() { Unmap(); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Maps fresh memory, at `place` if that is not null and free, and sets all of it to `value`.
  absl::Status Map(void* place, std::byte value) {
    const int fixed = place == nullptr ? 0 : MAP_FIXED_NOREPLACE;
    void* base =
        mmap(place, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | fixed, -1, 0);
    if (base == MAP_FAILED) {
      return ErrnoToStatus(errno, absl::StrFormat("mmap of %d bytes at %p", kBytes, place),
                           "run the demo again: another thread was faster");
    }
    base_ = static_cast<std::byte*>(base);
    std::fill(base_, base_ + kBytes, value);
    return absl::OkStatus();
  }
  void Unmap() {
    if (base_ != nullptr) munmap(base_, kBytes);
    base_ = nullptr;
  }
  std::byte* base() const { return base_; }

 private:
  std::byte* base_ = nullptr;
};

// The other side: memory that a device may write to.
class Peer final {
 public:
  explicit Peer(Device& device) : registrar_(device.registrar()) {}
  ~Peer() {
    if (registration_) registrar_->Deregister(*registration_).IgnoreError();
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  absl::Status Open(Device& device) {
    absl::Status status = memory_.Map(nullptr, kNothing);
    if (!status.ok()) return status;
    const absl::StatusOr<Range> range = Range::Of(memory_.base(), kBytes);
    if (!range.ok()) return range.status();
    absl::StatusOr<Registration> made =
        registrar_->Register(*range, Access::kLocalWrite | Access::kRemoteWrite);
    if (!made.ok()) return made.status();
    registration_ = *std::move(made);
    absl::StatusOr<std::unique_ptr<Transport>> transport = device.Connect();
    if (!transport.ok()) return transport.status();
    transport_ = *std::move(transport);
    return status;
  }

  // Sends what `lkey` covers at `address`, by one RDMA write. Returns: what arrived.
  absl::StatusOr<std::string> Receive(const std::byte* address, std::uint32_t lkey) {
    std::fill(memory_.base(), memory_.base() + kBytes, kNothing);
    const LocalExtent extent{address, kBytes, lkey};
    Transfer transfer;
    transfer.local = std::span<const LocalExtent>(&extent, 1);
    transfer.remote = {reinterpret_cast<std::uint64_t>(memory_.base()),
                       registration_->keys[0].rkey};
    const absl::StatusOr<Completion> completion = transport_->Run(transfer);
    if (!completion.ok()) return completion.status();
    if (*completion != Completion::kSuccess) {
      return absl::InternalError("the transfer ended with: " + std::string(ToString(*completion)));
    }
    return Classify(memory_.base());
  }

 private:
  std::shared_ptr<Registrar> registrar_;
  Mapping memory_;
  std::optional<Registration> registration_;
  std::unique_ptr<Transport> transport_;
};

// What many programs do, and what must not be done: a registration is known by its address.
class NaiveCache final {
 public:
  explicit NaiveCache(std::shared_ptr<Registrar> registrar) : registrar_(std::move(registrar)) {}
  ~NaiveCache() {
    for (auto& [address, registration] : known_) {
      registrar_->Deregister(registration).IgnoreError();
    }
  }
  NaiveCache(const NaiveCache&) = delete;
  NaiveCache& operator=(const NaiveCache&) = delete;

  absl::StatusOr<std::uint32_t> LkeyOf(const std::byte* address) {
    const auto found = known_.find(address);
    if (found != known_.end()) return found->second.keys[0].lkey;
    const absl::StatusOr<Range> range = Range::Of(address, kBytes);
    if (!range.ok()) return range.status();
    absl::StatusOr<Registration> made = registrar_->Register(*range, Access::kLocalRead);
    if (!made.ok()) return made.status();
    return known_.emplace(address, *std::move(made)).first->second.keys[0].lkey;
  }
  std::size_t registrations() const { return known_.size(); }

 private:
  std::shared_ptr<Registrar> registrar_;
  std::map<const std::byte*, Registration> known_;
};

// What the peer received from a cache, before and after the memory was replaced.
struct Received {
  std::string before;
  std::string after;
};

struct DemoResult {
  std::string device;
  std::uintptr_t address = 0;
  Received naive;
  Received linchpin;
  std::size_t naive_registrations = 0;
  CacheStats stats;

  bool linchpin_right() const { return linchpin.before == "OLD" && linchpin.after == "NEW"; }
  bool naive_wrong() const { return naive.before == "OLD" && naive.after == "OLD"; }
};

absl::StatusOr<std::string> SendBy(NaiveCache& cache, Peer& peer, const std::byte* address) {
  const absl::StatusOr<std::uint32_t> lkey = cache.LkeyOf(address);
  if (!lkey.ok()) return lkey.status();
  return peer.Receive(address, *lkey);
}

absl::StatusOr<std::string> SendBy(RegistrationCache& cache, Peer& peer, const std::byte* address) {
  const absl::StatusOr<Lease> lease = cache.Acquire(address, kBytes, Access::kLocalRead);
  if (!lease.ok()) return lease.status();
  return peer.Receive(address, lease->lkey());
}

// Sends through both caches. Stores what arrived in `naive` and `linchpin`.
absl::Status SendByBoth(NaiveCache& naive_cache, RegistrationCache& cache, Peer& peer,
                        const std::byte* address, std::pair<std::string*, std::string*> arrived) {
  absl::StatusOr<std::string> by_naive = SendBy(naive_cache, peer, address);
  if (!by_naive.ok()) return by_naive.status();
  absl::StatusOr<std::string> by_linchpin = SendBy(cache, peer, address);
  if (!by_linchpin.ok()) return by_linchpin.status();
  *arrived.first = *std::move(by_naive);
  *arrived.second = *std::move(by_linchpin);
  return absl::OkStatus();
}

absl::StatusOr<DemoResult> Play(Device& device) {
  DemoResult result;
  result.device = device.name();
  Peer peer(device);
  absl::Status status = peer.Open(device);
  if (!status.ok()) return status;
  absl::StatusOr<std::unique_ptr<RegistrationCache>> cache =
      RegistrationCache::Create(device.registrar());
  if (!cache.ok()) return cache.status();
  NaiveCache naive(device.registrar());

  Mapping message;
  status = message.Map(reinterpret_cast<void*>(kQuietAddress), kOld);
  if (!status.ok()) return status;
  std::byte* const address = message.base();
  result.address = reinterpret_cast<std::uintptr_t>(address);
  status =
      SendByBoth(naive, **cache, peer, address, {&result.naive.before, &result.linchpin.before});
  if (!status.ok()) return status;

  message.Unmap();
  status = message.Map(address, kNew);
  if (!status.ok()) return status;
  status = SendByBoth(naive, **cache, peer, address, {&result.naive.after, &result.linchpin.after});
  if (!status.ok()) return status;

  result.naive_registrations = naive.registrations();
  result.stats = (*cache)->stats();
  status = (*cache)->Close(absl::Seconds(30));
  if (!status.ok()) return status;
  return result;
}

std::string Verdict(const DemoResult& result) {
  if (!result.linchpin_right()) {
    return "Linchpin did NOT send what is in memory: this is a bug in Linchpin";
  }
  if (!result.naive_wrong()) {
    return "Linchpin sent what is in memory; so did the naive cache here: no problem was shown";
  }
  return "the naive cache sent bytes that are gone, with success; Linchpin sent what is in memory";
}

std::string ToText(const DemoResult& result) {
  const auto line = [](const char* cache, const std::string& arrived, const char* wanted) {
    return absl::StrFormat("   %-9s the peer received %s%s\n", cache, arrived,
                           arrived == wanted ? "" : "   <- wrong");
  };
  std::string text = absl::StrFormat("linchpin demo on %s\n", result.device);
  text += absl::StrFormat("1. %d bytes mapped at %#x hold OLD; sent through each cache:\n", kBytes,
                          result.address);
  text += line("naive:", result.naive.before, "OLD");
  text += line("Linchpin:", result.linchpin.before, "OLD");
  text += "2. unmapped; new memory mapped at the same address holds NEW; sent again:\n";
  text += line("naive:", result.naive.after, "NEW");
  text += line("Linchpin:", result.linchpin.after, "NEW");
  text += absl::StrFormat(
      "   naive: %d registration; Linchpin: %d registrations, %d invalidated by the unmapping\n",
      result.naive_registrations, result.stats.registrations, result.stats.invalidations);
  return text + "verdict: " + Verdict(result) + "\n";
}

std::string ToJson(const DemoResult& result) {
  const nlohmann::ordered_json json = {{"device", result.device},
                                       {"bytes", kBytes},
                                       {"address", absl::StrFormat("%#x", result.address)},
                                       {"naive",
                                        {{"before", result.naive.before},
                                         {"after", result.naive.after},
                                         {"registrations", result.naive_registrations}}},
                                       {"linchpin",
                                        {{"before", result.linchpin.before},
                                         {"after", result.linchpin.after},
                                         {"registrations", result.stats.registrations},
                                         {"invalidations", result.stats.invalidations}}},
                                       {"problem_shown", result.naive_wrong()},
                                       {"linchpin_right", result.linchpin_right()},
                                       {"verdict", Verdict(result)}};
  return json.dump(2) + "\n";
}

struct DemoArguments {
  std::optional<std::string> device;
  bool json = false;
};

ExitCode RunDemo(const DemoArguments& arguments) {
  if (arguments.device && arguments.device->empty()) {
    return Fail(ExitCode::kUsage, "--device: \"\" is no name; leave it out for the best");
  }
  const absl::StatusOr<std::shared_ptr<Device>> device = OpenDevice(arguments.device.value_or(""));
  if (!device.ok()) {
    return Fail(absl::IsNotFound(device.status()) ? ExitCode::kUsage : ExitCode::kUnusable,
                device.status());
  }
  const absl::StatusOr<DemoResult> result = Play(**device);
  if (!result.ok()) return Fail(ExitCode::kUnusable, result.status());
  Print(arguments.json ? ToJson(*result) : ToText(*result));
  if (result->linchpin_right()) return ExitCode::kOk;
  return Fail(ExitCode::kUnusable, Verdict(*result));
}

}  // namespace

void AddDemo(CLI::App& app, Action& action) {
  CLI::App* demo = app.add_subcommand(
      "demo", "Shows what a naive registration cache sends after its memory was replaced");
  const auto arguments = std::make_shared<DemoArguments>();
  demo->add_option("-d,--device", arguments->device,
                   "An RDMA device, or loopback (default: the best there is)")
      ->type_name("NAME");
  demo->add_flag("--json", arguments->json, "Machine-readable output");
  demo->callback([arguments, &action] { action = [arguments] { return RunDemo(*arguments); }; });
}

}  // namespace linchpin
