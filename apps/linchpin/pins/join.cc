// A file is its device and inode: names change, and several processes may know several.
#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "apps/linchpin/pins/show.h"

namespace linchpin {
namespace {

// The sum of what nobody vouches for.
std::uint64_t SaturatingAdd(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b
             ? std::numeric_limits<std::uint64_t>::max()
             : a + b;
}

using Key = std::pair<std::uint64_t, std::uint64_t>;

Key KeyOf(const PinOfProcess& one, JoinBy by) {
  if (by == JoinBy::kProcess) return {static_cast<std::uint64_t>(one.process->pid), 0};
  return {one.pin->file_device, one.pin->file_inode};
}

auto OrderOf(const PinOfProcess& one) {
  return std::tuple(one.process->pid, one.pin->range.start, one.pin->range.end);
}

}  // namespace

std::vector<PinGroup> Join(const Survey& survey, JoinBy by, const PinFilter& wanted) {
  std::map<Key, PinGroup> groups;
  for (const PinningProcess& process : survey.processes) {
    for (const internal::ListedPin& pin : process.contents.pins) {
      const PinOfProcess one{&process, &pin};
      if (wanted(pin)) groups[KeyOf(one, by)].pins.push_back(one);
    }
  }
  std::vector<PinGroup> joined;
  for (auto& [key, group] : groups) {
    std::sort(group.pins.begin(), group.pins.end(),
              [](const auto& a, const auto& b) { return OrderOf(a) < OrderOf(b); });
    const PinningProcess* previous = nullptr;
    for (const PinOfProcess& one : group.pins) {
      group.bytes = SaturatingAdd(group.bytes, one.pin->range.size());
      if (one.process != previous) ++group.processes;
      previous = one.process;
    }
    joined.push_back(std::move(group));
  }
  return joined;
}

}  // namespace linchpin
