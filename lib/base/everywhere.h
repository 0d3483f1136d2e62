// kEverywhere: the range of all addresses, but the last byte, which belongs to the kernel.
#pragma once

#include <cstdint>

#include "linchpin/range.h"

namespace linchpin {

inline constexpr Range kEverywhere{0, UINTPTR_MAX};

}  // namespace linchpin
