#include "apps/linchpin/phyr/self_test.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "apps/linchpin/quantity.h"
#include "linchpin/loopback.h"
#include "linchpin/pin.h"

namespace linchpin {
namespace {

using Json = nlohmann::ordered_json;

struct Reading {
  PhyrList list;
  std::vector<std::uint64_t> addresses;
};

// The kernel may move what is not pinned between two looks at it. Returns: what was the same before
// and after.
absl::StatusOr<Reading> ReadSteadily(Range range, const VaddrPin& pin) {
  constexpr int kTries = 10;
  const auto read = [&] { return pin ? pin.Phyrs() : ReadPhyrs(range); };
  for (int i = 0;; ++i) {
    auto list = read();
    if (!list.ok()) return list.status();
    std::vector<std::uint64_t> addresses = AddressesOf(range);
    const auto again = read();
    if (!again.ok()) return again.status();
    if (*list == *again || i == kTries) return Reading{*std::move(list), std::move(addresses)};
  }
}

// Returns: the pin; nothing, and `reason`, if there is none.
VaddrPin Pin(const std::shared_ptr<LoopbackDevice>& device, const OwnMemory& memory,
             std::string& reason) {
  auto pin = PinVaddr(device, {.range = memory.range(), .rights = Access::kLocalWrite});
  if (pin.ok()) return *std::move(pin);
  reason = std::string(pin.status().message());
  return {};
}

TestedMemory Test(MemoryKind kind, const absl::StatusOr<std::shared_ptr<LoopbackDevice>>& device) {
  TestedMemory tested;
  tested.name = ToString(kind);
  const auto memory = OwnMemory::Make(kind);
  if (!memory.ok()) {
    tested.absent = std::string(memory.status().message());
    return tested;
  }
  VaddrPin pin;
  if (!CanBePinned(kind)) {
    tested.unpinned = "a pin would touch it";
  } else if (!device.ok()) {
    tested.unpinned = std::string(device.status().message());
  } else {
    pin = Pin(*device, *memory, tested.unpinned);
  }
  auto reading = ReadSteadily(memory->range(), pin);
  auto view = reading.ok() ? MakeView(std::move(reading->list), memory->range().start)
                           : absl::StatusOr<PhyrView>(reading.status());
  if (!view.ok()) {
    tested.checks.push_back({"it can be read", false, std::string(view.status().message())});
    return tested;
  }
  tested.view = *std::move(view);
  tested.checks = CheckPhyrs({kind, *memory, static_cast<bool>(pin), std::move(reading->addresses)},
                             *tested.view);
  return tested;
}

std::string ToText(const TestedMemory& memory, std::size_t shown_most) {
  if (!memory.absent.empty()) {
    return absl::StrCat(memory.name, ": none here: ", memory.absent, "\n\n");
  }
  std::string text = absl::StrCat(memory.name, ": ");
  if (memory.view) absl::StrAppend(&text, FormatSize(memory.view->list.length()), ", ");
  absl::StrAppend(
      &text, memory.unpinned.empty() ? "pinned" : absl::StrCat("not pinned: ", memory.unpinned),
      "\n");
  if (memory.view) {
    absl::StrAppend(&text, EntriesText(*memory.view, shown_most), SummaryText(*memory.view));
  }
  for (const PhyrCheck& check : memory.checks) {
    absl::StrAppend(&text, check.ok ? "  ok      " : "  FAILED  ", check.what,
                    check.detail.empty() ? "" : absl::StrCat(": ", check.detail), "\n");
  }
  return text + "\n";
}

Json ToJsonObject(const TestedMemory& memory, std::size_t shown_most) {
  Json json = {{"kind", memory.name}, {"absent", nullptr}, {"pinned", false},
               {"unpinned", nullptr}, {"view", nullptr},   {"checks", Json::array()}};
  if (!memory.absent.empty()) {
    json["absent"] = memory.absent;
    return json;
  }
  json["pinned"] = memory.unpinned.empty();
  if (!memory.unpinned.empty()) json["unpinned"] = memory.unpinned;
  if (memory.view) json["view"] = ToJson(*memory.view, shown_most);
  for (const PhyrCheck& check : memory.checks) {
    json["checks"].push_back({{"what", check.what}, {"ok", check.ok}, {"detail", check.detail}});
  }
  return json;
}

}  // namespace

std::size_t PhyrSelfTest::checks() const {
  std::size_t count = 0;
  for (const TestedMemory& memory : memories) count += memory.checks.size();
  return count;
}

std::size_t PhyrSelfTest::failed() const {
  std::size_t count = 0;
  for (const TestedMemory& memory : memories) {
    for (const PhyrCheck& check : memory.checks) count += check.ok ? 0 : 1;
  }
  return count;
}

PhyrSelfTest TestPhyrs() {
  const auto device = LoopbackDevice::Create();
  PhyrSelfTest test;
  for (const MemoryKind kind : kMemoryKinds) test.memories.push_back(Test(kind, device));
  return test;
}

std::string ToText(const PhyrSelfTest& test, std::size_t shown_most) {
  std::string unknown;
  std::string text;
  for (const TestedMemory& memory : test.memories) {
    text += ToText(memory, shown_most);
    if (memory.view && unknown.empty()) unknown = UnknownText(memory.view->summary);
  }
  if (!unknown.empty()) text = absl::StrCat(unknown, "\n\n", text);
  return absl::StrCat(text, test.checks(), " checks, ", test.failed(), " failed\n");
}

std::string ToJson(const PhyrSelfTest& test, std::size_t shown_most) {
  Json json = {{"checks", test.checks()}, {"failed", test.failed()}, {"memories", Json::array()}};
  for (const TestedMemory& memory : test.memories) {
    json["memories"].push_back(ToJsonObject(memory, shown_most));
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace linchpin
