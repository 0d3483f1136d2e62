// VerbsTable::Libibverbs: the verbs of the library that the program is linked with.
#include <infiniband/verbs.h>

#include "linchpin/verbs.h"

namespace linchpin {
namespace {

// Behind some of these names are macros and inline functions, hence the lambdas.
constexpr VerbsTable kLibibverbs{
    .reg_mr = [](ibv_pd* pd, void* address, std::size_t length, int access) -> ibv_mr* {
      return ibv_reg_mr(pd, address, length, static_cast<unsigned>(access));
    },
    .dereg_mr = [](ibv_mr* mr) { return ibv_dereg_mr(mr); },
    .query_device_ex =
        [](ibv_context* context, ibv_device_attr_ex* attributes) {
          return ibv_query_device_ex(context, nullptr, attributes);
        },
    .get_device_name = [](ibv_context* context) { return ibv_get_device_name(context->device); },
};

}  // namespace

const VerbsTable& VerbsTable::Libibverbs() {
  return kLibibverbs;
}

}  // namespace linchpin
