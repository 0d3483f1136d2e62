// LINCHPIN_CHECK: an invariant whose breach is our bug, never the user's. Aborts with the place.
#pragma once

#include <cstdio>
#include <cstdlib>

#define LINCHPIN_CHECK(condition)                                                        \
  do {                                                                                   \
    if (!(condition)) [[unlikely]] {                                                     \
      std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)
