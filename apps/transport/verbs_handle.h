// Owners of verbs objects. In a forked child they let go without a word to the device: the objects
// belong to the open device file, which the parent shares, and the parent still uses them.
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>

#include "lib/base/process.h"

namespace linchpin {

template <auto kDestroy>
class VerbsDestroyer {
 public:
  template <typename Object>
  void operator()(Object* object) const {
    // It cannot fail in a way that anyone could act on; closing the device ends what is left.
    if (ProcessCookie() == process_) static_cast<void>(kDestroy(object));
  }

 private:
  std::uint64_t process_ = ProcessCookie();
};

using ContextPtr = std::unique_ptr<ibv_context, VerbsDestroyer<ibv_close_device>>;
using PdPtr = std::unique_ptr<ibv_pd, VerbsDestroyer<ibv_dealloc_pd>>;
using CqPtr = std::unique_ptr<ibv_cq, VerbsDestroyer<ibv_destroy_cq>>;
using QpPtr = std::unique_ptr<ibv_qp, VerbsDestroyer<ibv_destroy_qp>>;

}  // namespace linchpin
