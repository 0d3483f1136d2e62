// linchpin phyr --self-test: what is said of memory that the tool has made itself, and so knows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/linchpin/phyr/own_memory.h"
#include "apps/linchpin/phyr/show.h"

namespace linchpin {

struct PhyrCheck {
  std::string what;  // "each page is where its own entry of the page map says".
  bool ok = false;
  std::string detail;  // What was found. May be empty.
};

struct TestedMemory {
  std::string name;
  std::string absent;    // Why there is none; empty if there is. Then nothing follows.
  std::string unpinned;  // Why it is not pinned; empty if it is.
  std::optional<PhyrView> view;
  std::vector<PhyrCheck> checks;
};

struct PhyrSelfTest {
  std::vector<TestedMemory> memories;

  std::size_t checks() const;
  std::size_t failed() const;
};

PhyrSelfTest TestPhyrs();

std::string ToText(const PhyrSelfTest& test, std::size_t shown_most);
std::string ToJson(const PhyrSelfTest& test, std::size_t shown_most);

// Memory that is tested, and what was read of it.
struct MemoryUnderTest {
  MemoryKind kind;
  const OwnMemory& memory;
  bool pinned = false;
  // For each page, as its own entry of the page map has it: the address; 0 if it has none.
  std::vector<std::uint64_t> addresses;
};

// All that must hold of `view`.
std::vector<PhyrCheck> CheckPhyrs(const MemoryUnderTest& under_test, const PhyrView& view);

// The address of each page of `range`, one by one: read and decoded here, because it is what the
// library's way of doing so is compared with. Empty when addresses are not shown.
std::vector<std::uint64_t> AddressesOf(Range range);

}  // namespace linchpin
