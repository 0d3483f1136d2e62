// The rows of the golden test: memory, what is asked of it, and what each kernel answers.
#pragma once

#include <sys/resource.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "linchpin/access.h"
#include "tests/explain/golden_memory.h"

namespace linchpin::testing {

enum class Answer : std::uint8_t { kOk, kEfault, kEinval, kEopnotsupp, kEnomem, kEperm };

// What 6.1, 6.12 and 7.2 answer.
using Answers = std::array<Answer, 3>;

// How sure Explain has to be.
enum class Sure : std::uint8_t { kYes, kNotNecessarily };

struct Row {
  const char* memory;
  Access access;
  std::function<Specimen()> make;
  Answers answers;
  Sure sure = Sure::kYes;
  rlim_t memlock = RLIM_INFINITY;  // Less: without CAP_IPC_LOCK.
};

std::vector<Row> AnonymousRows();
std::vector<Row> SharedMemoryRows();
std::vector<Row> FileRows();
std::vector<Row> OtherRows();

}  // namespace linchpin::testing
