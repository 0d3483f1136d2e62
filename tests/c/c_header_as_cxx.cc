// c.h is C++ as well: it compiles first and alone, with C linkage, so this links with
// liblinchpin.so and no other of ours.
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "linchpin/c.h"

static_assert(std::is_trivially_copyable_v<linchpin_lease>);
static_assert(std::is_standard_layout_v<linchpin_cache_options>);
static_assert(sizeof(linchpin_lease) == 40);
static_assert(sizeof(linchpin_cache_options) == 48);
static_assert(sizeof(struct linchpin_cache_stats) == 128);
static_assert(sizeof(linchpin_callbacks) == 40);

int main() {
  linchpin_cache* cache = nullptr;
  if (linchpin_cache_open(nullptr, nullptr, &cache) >= 0) return 1;
  std::printf("%s: %s\n", linchpin_version(), linchpin_last_error());
  return std::strlen(linchpin_last_error()) != 0 ? 0 : 1;
}
