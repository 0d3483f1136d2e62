#pragma once

#include <cstddef>
#include <memory>

#include "absl/status/statusor.h"

#include "linchpin/registrar.h"

struct ibv_context;
struct ibv_device_attr_ex;
struct ibv_mr;
struct ibv_pd;

namespace linchpin {

// The verbs that VerbsRegistrar calls; libibverbs unless told otherwise. Each has the meaning and
// the error convention of the ibv_ function of its name.
struct VerbsTable {
  ibv_mr* (*reg_mr)(ibv_pd* pd, void* address, std::size_t length, int access) = nullptr;
  // Returns an errno value, and so does the next.
  int (*dereg_mr)(ibv_mr* mr) = nullptr;
  int (*query_device_ex)(ibv_context* context, ibv_device_attr_ex* attributes) = nullptr;
  // Null: the registrar has no name of its own.
  const char* (*get_device_name)(ibv_context* context) = nullptr;

  static const VerbsTable& Libibverbs();
};

struct VerbsOptions {
  const VerbsTable* table = nullptr;  // Null: VerbsTable::Libibverbs(). Must outlive the registrar.
};

// Registers with one RDMA device, by ibv_reg_mr in a protection domain of the application's.
// Never calls ibv_fork_init.
class VerbsRegistrar {
 public:
  // Requires: `pd` outlives the registrar and every registration it makes.
  // Returns: the registrar; InvalidArgument for a null pd; otherwise why the device could not be
  // asked for its limits.
  static absl::StatusOr<std::shared_ptr<Registrar>> Create(ibv_pd* pd, VerbsOptions options = {});
};

}  // namespace linchpin
