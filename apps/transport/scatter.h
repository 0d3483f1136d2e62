// Scatter lists as transfers take them.
#pragma once

#include <vector>

#include "linchpin/loopback.h"
#include "linchpin/scatter_list.h"

namespace linchpin {

// Puts the elements of `list` in place of what is in `extents`.
void CopyExtents(const ScatterList& list, std::vector<LocalExtent>& extents);

}  // namespace linchpin
