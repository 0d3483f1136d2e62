#include "apps/transport/scatter.h"

#include <infiniband/verbs.h>

namespace linchpin {

void CopyExtents(const ScatterList& list, std::vector<LocalExtent>& extents) {
  extents.clear();
  for (const ibv_sge& element : list.elements()) {
    extents.push_back(
        {reinterpret_cast<const void*>(element.addr), element.length, element.lkey});  // NOLINT
  }
}

}  // namespace linchpin
