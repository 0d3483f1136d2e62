// Replaces operator new and delete in every test binary: aborts when a thread allocates or frees
// while it holds a mutex that the monitor's reader takes. Not under sanitizers, which have their
// own.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "lib/base/no_allocation.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
namespace {

void Check(const char* what) {
  if (!linchpin::NoAllocation::Promised()) return;
  std::fprintf(stderr, "%s under a mutex that the monitor's reader takes\n", what);
  std::abort();
}

}  // namespace

void* operator new(std::size_t size) {
  Check("operator new");
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  Check("operator delete");
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}
#endif
