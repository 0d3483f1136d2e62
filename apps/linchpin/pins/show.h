// How `linchpin pins` shows what it found: all pins, joined by file or by process.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "apps/linchpin/pins/survey.h"

namespace linchpin {

enum class JoinBy : std::uint8_t { kFile, kProcess };

// A pin and whose it is.
struct PinOfProcess {
  const PinningProcess* process = nullptr;
  const internal::ListedPin* pin = nullptr;
};

// Pins of one file, or of one process.
struct PinGroup {
  std::vector<PinOfProcess> pins;  // Never empty; in ascending order of process and address.
  std::uint64_t bytes = 0;         // The sum, or the largest number there is.
  std::uint64_t processes = 0;
};

using PinFilter = std::function<bool(const internal::ListedPin&)>;

// Joins the pins that `wanted` takes. They point into `survey`.
std::vector<PinGroup> Join(const Survey& survey, JoinBy by, const PinFilter& wanted);

// "/memfd:NAME (deleted)", "anonymous memory", or what is known of a file without a name.
std::string FileName(const internal::ListedPin& pin);

std::string ToText(const Survey& survey, JoinBy by, const std::vector<PinGroup>& groups);
std::string ToJson(const Survey& survey, JoinBy by, const std::vector<PinGroup>& groups);

}  // namespace linchpin
