// Memory of each kind that registration treats differently, made for real and held until the end.
#pragma once

#include <cstddef>
#include <string>

#include "linchpin/range.h"

namespace linchpin::testing {

// Memory to ask a kernel about; or why this machine has none.
struct Specimen {
  Range range;
  std::string absent;  // Empty when it is there.

  static Specimen Absent(std::string why) { return {{}, std::move(why)}; }
};

struct Shape {
  int protection;
  bool shared = true;
  std::size_t file_bytes = 4 * std::size_t{4096};  // Of which as many as kSpecimenBytes are mapped.
};
inline constexpr std::size_t kSpecimenBytes = 4 * std::size_t{4096};

Specimen Anonymous(int protection, std::size_t bytes = kSpecimenBytes);
Specimen HugeAnonymous(std::size_t bytes);  // Transparent huge pages, not touched.
Specimen WithHole();
Specimen WithReadOnlyPage();
Specimen WithGuardPage();
Specimen Memfd(Shape shape);
Specimen HugetlbMemfd(int protection);  // Takes one huge page from the machine, if it may.
Specimen SysvShm();
Specimen Secret();
Specimen PciBar();
Specimen Named(const char* mapping);  // "[vdso]".
// A file in the folder that the environment variable names, or in `variable` itself if it begins
// with a slash.
Specimen FileIn(const char* variable, Shape shape);

}  // namespace linchpin::testing
